/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files with a device's state.  Their names come out of the stream: whatever
 * it says, they lie in the folder that was asked for.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "inspect.h"
#include "util/error.h"

#define SECTION_SUFFIX "/vfio"

/* What a name may keep; all else becomes %XX, so no two become the same. */
static bool is_harmless(char c, bool first)
{
    static const char others[] = "_:-+,=";

    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z') || (c == '.' && !first) ||
           strchr(others, c) != NULL;
}

/* The name of a section without "/vfio". */
static size_t name_length(const char *section)
{
    size_t len = strlen(section);
    size_t suffix = strlen(SECTION_SUFFIX);

    if (len > suffix && strcmp(section + len - suffix, SECTION_SUFFIX) == 0)
        return len - suffix;
    return len;
}

/* "DIR/NAME.state", to be freed, or NULL. */
static char *file_path(const char *folder, const char *section,
                       uint32_t instance_id, const char *suffix)
{
    char *path = NULL;
    size_t size;
    FILE *f = open_memstream(&path, &size);

    if (f == NULL)
        return NULL;
    fprintf(f, "%s/", folder);
    for (size_t i = 0; i < name_length(section); i++)
        fprintf(f, is_harmless(section[i], i == 0) ? "%c" : "%%%02X",
                section[i]);
    if (instance_id != 0)
        fprintf(f, "@%u", instance_id);
    fprintf(f, "%s", suffix);
    if (fclose(f) == 0)
        return path;
    free(path);
    return NULL;
}

static int fail(const struct extract_file *file, const char *what,
                struct vfm_error *err)
{
    int code = errno != 0 ? -errno : -EIO;

    return error_set(err, code, "cannot %s '%s': %s", what, file->path,
                     strerror(-code));
}

int extract_open(struct extract_file *file, const char *folder,
                 const char *section, uint32_t instance_id, const char *suffix,
                 struct vfm_error *err)
{
    mode_t mask;
    int fd;

    file->path = file_path(folder, section, instance_id, suffix);
    if (file->path == NULL ||
        asprintf(&file->temporary, "%s.XXXXXX", file->path) < 0) {
        file->temporary = NULL;
        return error_set(err, -ENOMEM, "out of memory");
    }
    fd = mkostemp(file->temporary, O_CLOEXEC);
    if (fd < 0) {
        int ret = fail(file, "create", err);

        free(file->temporary);
        file->temporary = NULL;
        return ret;
    }
    /* mkstemp() is for secrets; this is a file like any other. */
    mask = umask(0);
    umask(mask);
    fchmod(fd, 0666 & ~mask);
    file->file = fdopen(fd, "wb");
    if (file->file == NULL) {
        close(fd);
        return error_set(err, -ENOMEM, "out of memory");
    }
    return 0;
}

int extract_write(struct extract_file *file, const void *data, size_t len,
                  struct vfm_error *err)
{
    errno = 0;
    if (fwrite(data, 1, len, file->file) == len)
        return 0;
    return fail(file, "write", err);
}

int extract_commit(struct extract_file *file, struct vfm_error *err)
{
    bool good;

    errno = 0;
    good = fflush(file->file) == 0 && fsync(fileno(file->file)) == 0;
    if (!good)
        return fail(file, "write", err);
    if (rename(file->temporary, file->path) < 0)
        return fail(file, "rename to", err);
    free(file->temporary);
    file->temporary = NULL;
    return 0;
}

void extract_abort(struct extract_file *file)
{
    if (file->file != NULL)
        fclose(file->file);
    if (file->temporary != NULL)
        unlink(file->temporary);
    free(file->temporary);
    free(file->path);
    *file = (struct extract_file){ 0 };
}

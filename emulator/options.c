/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line: one table of options, from which it is decoded and
 * --help is printed.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emulator/irq.h"
#include "emulator/memory.h"
#include "emulator/options.h"
#include "emulator/registers.h"
#include "util/error.h"

#define DEFAULT_SIZE         (UINT64_C(1) << 30)
#define DEFAULT_INITIAL_SIZE (UINT64_C(1) << 20)
#define DEFAULT_REINIT_AFTER (UINT64_C(16) << 20)
#define DEFAULT_XFER         (UINT64_C(1) << 20)
#define DEFAULT_HOT_MAX      (UINT64_C(64) << 20)
#define XFER_MIN             512
#define XFER_MAX             (UINT64_C(64) << 20)

struct option {
    const char *name;
    const char *argument; /* null: takes none */
    const char *help;
    int (*parse)(struct options *o, const struct option *option,
                 const char *text, struct vfm_error *err);
    size_t field;
};

/* @text is not what the table says that it is. */
static int refuse(const struct option *option, const char *text,
                  struct vfm_error *err)
{
    return error_set(err, -EINVAL, "--%s %s: not %s: %s", option->name, text,
                     option->argument, option->help);
}

static int parse_text(struct options *o, const struct option *option,
                      const char *text, struct vfm_error *err)
{
    (void)err;
    memcpy((char *)o + option->field, &text, sizeof(text));
    return 0;
}

static int parse_flag(struct options *o, const struct option *option,
                      const char *text, struct vfm_error *err)
{
    (void)text;
    (void)err;
    *((bool *)((char *)o + option->field)) = true;
    return 0;
}

static int parse_size(struct options *o, const struct option *option,
                      const char *text, struct vfm_error *err)
{
    uint64_t size;

    if (options_parse_size(text, &size) < 0)
        return refuse(option, text, err);
    memcpy((char *)o + option->field, &size, sizeof(size));
    return 0;
}

static int parse_fd(struct options *o, const struct option *option,
                    const char *text, struct vfm_error *err)
{
    uint64_t fd;

    if (options_parse_size(text, &fd) < 0 || fd > INT32_MAX)
        return refuse(option, text, err);
    o->fd = (int)fd;
    return 0;
}

static int parse_vectors(struct options *o, const struct option *option,
                         const char *text, struct vfm_error *err)
{
    uint64_t n;

    if (options_parse_size(text, &n) < 0 || n == 0 || n > IRQ_VECTORS_MAX)
        return refuse(option, text, err);
    o->vectors = (uint32_t)n;
    return 0;
}

static int parse_pci_id(struct options *o, const struct option *option,
                        const char *text, struct vfm_error *err)
{
    unsigned vendor, device;
    char rest;

    if (sscanf(text, "%4x:%4x%c", &vendor, &device, &rest) != 2)
        return refuse(option, text, err);
    o->pci_vendor = (uint16_t)vendor;
    o->pci_device = (uint16_t)device;
    return 0;
}

static const struct {
    const char *name;
    uint32_t feature;
} feature_names[] = {
    { "stop-copy", FEATURE_STOP_COPY },
    { "pre-copy", FEATURE_PRE_COPY },
    { "p2p", FEATURE_P2P },
    { "data-size", FEATURE_DATA_SIZE },
    { "precopy-info", FEATURE_PRECOPY_INFO },
    { "reinit", FEATURE_REINIT },
    { "dma-logging", FEATURE_DMA_LOGGING },
};

static uint32_t find_feature(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof(feature_names) / sizeof(feature_names[0]);
         i++)
        if (strncmp(name, feature_names[i].name, length) == 0 &&
            feature_names[i].name[length] == '\0')
            return feature_names[i].feature;
    return 0;
}

static int parse_features(struct options *o, const struct option *option,
                          const char *text, struct vfm_error *err)
{
    const char *name = text;

    o->features = 0;
    while (*name != '\0') {
        size_t n = strcspn(name, ",");
        uint32_t feature = find_feature(name, n);

        if (feature == 0)
            return refuse(option, text, err);
        o->features |= feature;
        name += n + (name[n] == ',');
    }
    return 0;
}

static int parse_personality(struct options *o, const struct option *option,
                             const char *text, struct vfm_error *err)
{
    static const char *const names[] = {
        [PERSONALITY_SPEC] = "spec",
        [PERSONALITY_LIBVFIO_USER] = "libvfio-user",
        [PERSONALITY_RUST] = "rust",
        [PERSONALITY_QEMU_LIMITS] = "qemu-limits",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(text, names[i]) == 0) {
            o->personality = (enum personality)i;
            return 0;
        }
    return refuse(option, text, err);
}

static int parse_size_report(struct options *o, const struct option *option,
                             const char *text, struct vfm_error *err)
{
    if (strcmp(text, "exact") == 0)
        o->size_report = SIZE_EXACT;
    else if (strcmp(text, "zero") == 0)
        o->size_report = SIZE_ZERO;
    else if (strcmp(text, "huge") == 0)
        o->size_report = SIZE_HUGE;
    else if (options_parse_size(text, &o->size_report_value) == 0)
        o->size_report = SIZE_FIXED;
    else
        return refuse(option, text, err);
    return 0;
}

static int parse_dirty_size(struct options *o, const struct option *option,
                            const char *text, struct vfm_error *err)
{
    o->dirty_size_given = true;
    return parse_size(o, option, text, err);
}

static int parse_fault(struct options *o, const struct option *option,
                       const char *text, struct vfm_error *err)
{
    return fault_add(&o->faults, option->name, text, err);
}

static int parse_mutant(struct options *o, const struct option *option,
                        const char *text, struct vfm_error *err)
{
    (void)option;
    return mutant_parse(text, &o->mutant, err);
}

#define FIELD(name) offsetof(struct options, name)

static const struct option table[] = {
    { "socket", "PATH", "listen on this UNIX socket", parse_text,
      FIELD(socket_path) },
    { "fd", "N", "serve this socket, connected or listening", parse_fd, 0 },
    { "size", "SIZE", "device memory, 4K to 64G (1G)", parse_size,
      FIELD(size) },
    { "seed", "N", "what the memory holds (1)", parse_size, FIELD(seed) },
    { "dirty-size", "SIZE", "memory that is rewritten (a 16th, at most 64M)",
      parse_dirty_size, FIELD(dirty_size) },
    { "dirty-rate", "SIZE", "bytes rewritten per second (0)", parse_size,
      FIELD(dirty_rate) },
    { "initial-size", "SIZE", "memory in the initial part (1M)", parse_size,
      FIELD(initial_size) },
    { "late-dma", "SIZE", "bytes of DMA that are finished while it stops (0)",
      parse_size, FIELD(late_dma) },
    { "reinit-after", "SIZE", "bytes before initial data is new (16M)",
      parse_size, FIELD(reinit_after) },
    { "features", "LIST",
      "of stop-copy,pre-copy,p2p,data-size,precopy-info,reinit,dma-logging "
      "(all but reinit)",
      parse_features, 0 },
    { "vectors", "N", "MSI-X vectors, 1 to 2048 (8)", parse_vectors, 0 },
    { "pci-id", "VVVV:DDDD", "PCI vendor and device", parse_pci_id, 0 },
    { "max-data-xfer", "SIZE", "bytes in a message (1M)", parse_size,
      FIELD(max_data_xfer) },
    { "no-data-area", NULL, "take the state in messages only", parse_flag,
      FIELD(no_data_area) },
    { "data-size-report", "exact|zero|huge|SIZE", "what MIG_DATA_SIZE says",
      parse_size_report, 0 },
    { "accept-any", NULL, "load anything, print its size and SHA-256",
      parse_flag, FIELD(accept_any) },
    { "no-mmap", NULL, "no region can be mapped, all are read and written",
      parse_flag, FIELD(no_mmap) },
    { "digest", NULL, "compute the SHA-256 of what is saved and loaded",
      parse_flag, FIELD(digest) },
    { "report", "FILE", "write JSON there at SIGUSR1 and at exit", parse_text,
      FIELD(report_path) },
    { "personality", "spec|libvfio-user|rust|qemu-limits",
      "whose habits to have", parse_personality, 0 },
    { "split", "N", "send at most so many bytes at a time", parse_size,
      FIELD(split) },
    { "fail", "WHERE[:ERRNO][,leave=STATE]", "refuse", parse_fault, 0 },
    { "delay", "WHERE:MILLISECONDS", "answer late; 0: never", parse_fault, 0 },
    { "short", "read@OFFSET[:BYTES]", "give less than there is", parse_fault,
      0 },
    { "corrupt", "WHERE[:PART]", "change what is sent or taken", parse_fault,
      0 },
    { "close", "WHERE[,when=before|mid|after|unanswered]", "hang up",
      parse_fault, 0 },
    { "inject", "COMMAND[:dma-read|reply]", "send something before the reply",
      parse_fault, 0 },
    { "mutant", "NAME", "have this bug", parse_mutant, 0 },
    { "list-mutants", NULL, "print the bugs there are", parse_flag,
      FIELD(list_mutants) },
    { "help", NULL, "print this", parse_flag, FIELD(help) },
    { "version", NULL, "print the version", parse_flag, FIELD(version) },
};

#define NUM_OPTIONS (sizeof(table) / sizeof(table[0]))

void options_default(struct options *o)
{
    *o = (struct options){
        .fd = -1,
        .size = DEFAULT_SIZE,
        .seed = 1,
        .initial_size = DEFAULT_INITIAL_SIZE,
        .reinit_after = DEFAULT_REINIT_AFTER,
        .max_data_xfer = DEFAULT_XFER,
        .features = FEATURE_STOP_COPY | FEATURE_PRE_COPY | FEATURE_P2P |
                    FEATURE_DATA_SIZE | FEATURE_PRECOPY_INFO |
                    FEATURE_DMA_LOGGING,
        .vectors = 8,
        .pci_vendor = EDEV_PCI_VENDOR,
        .pci_device = EDEV_PCI_DEVICE,
    };
}

int options_parse_size(const char *text, uint64_t *size)
{
    static const char suffixes[] = "KMG";
    const char *suffix;
    unsigned shift = 0;
    char *end;

    *size = 0;
    if (*text < '0' || *text > '9')
        return -EINVAL;
    errno = 0;
    *size = strtoull(text, &end, 0);
    if (errno != 0)
        return -EINVAL;
    if (*end != '\0') {
        suffix = strchr(suffixes, *end);
        if (suffix == NULL || end[1] != '\0')
            return -EINVAL;
        shift = 10 * (unsigned)(suffix - suffixes + 1);
    }
    if (*size > UINT64_MAX >> shift)
        return -EINVAL;
    *size <<= shift;
    return 0;
}

/* Finds the option that @word names, with "=value" or without. */
static const struct option *find(const char *word)
{
    size_t n;

    if (strncmp(word, "--", 2) != 0)
        return NULL;
    n = strcspn(word + 2, "=");
    for (size_t i = 0; i < NUM_OPTIONS; i++)
        if (strncmp(word + 2, table[i].name, n) == 0 &&
            table[i].name[n] == '\0')
            return &table[i];
    return NULL;
}

/* Parses the option at argv[*i], and steps over its value. */
static int parse_one(struct options *o, int *i, int argc,
                     const char *const argv[], struct vfm_error *err)
{
    const struct option *option = find(argv[*i]);
    const char *value;

    if (option == NULL)
        return error_set(err, -EINVAL, "%s: no such option", argv[*i]);
    value = strchr(argv[*i], '=');
    if (value != NULL)
        value++;
    if (option->argument == NULL && value != NULL)
        return error_set(err, -EINVAL, "--%s: takes no value", option->name);
    if (option->argument != NULL && value == NULL) {
        if (*i + 1 >= argc)
            return error_set(err, -EINVAL, "--%s: needs %s", option->name,
                             option->argument);
        value = argv[++*i];
    }
    return option->parse(o, option, value, err);
}

static int check_sizes(struct options *o, struct vfm_error *err)
{
    if (o->size < MEMORY_SIZE_MIN || o->size > MEMORY_SIZE_MAX ||
        o->size % EDEV_PAGE_SIZE != 0)
        return error_set(err, -EINVAL,
                         "--size: must be 4K to 64G in whole pages");
    if (!o->dirty_size_given) {
        o->dirty_size = o->size / 16 / EDEV_PAGE_SIZE * EDEV_PAGE_SIZE;
        if (o->dirty_size > DEFAULT_HOT_MAX)
            o->dirty_size = DEFAULT_HOT_MAX;
    }
    if (o->dirty_size > o->size || o->dirty_size % EDEV_PAGE_SIZE != 0)
        return error_set(err, -EINVAL,
                         "--dirty-size: must be whole pages of the memory");
    if (o->max_data_xfer < XFER_MIN || o->max_data_xfer > XFER_MAX)
        return error_set(err, -EINVAL, "--max-data-xfer: must be %d to %dM",
                         XFER_MIN, (int)(XFER_MAX >> 20));
    return 0;
}

static int check(struct options *o, struct vfm_error *err)
{
    if ((o->socket_path == NULL) == (o->fd < 0))
        return error_set(err, -EINVAL, "one of --socket and --fd is needed");
    if ((o->features & (FEATURE_PRE_COPY | FEATURE_P2P)) != 0 &&
        (o->features & FEATURE_STOP_COPY) == 0)
        return error_set(err, -EINVAL,
                         "--features: pre-copy and p2p need stop-copy");
    if (o->personality == PERSONALITY_LIBVFIO_USER) {
        /* What that library offers is fixed. */
        o->features &= ~(FEATURE_P2P | FEATURE_DATA_SIZE |
                         FEATURE_PRECOPY_INFO | FEATURE_REINIT);
        o->features |= FEATURE_STOP_COPY | FEATURE_PRE_COPY;
    }
    if (o->personality == PERSONALITY_RUST)
        o->features &=
            ~(FEATURE_DATA_SIZE | FEATURE_PRECOPY_INFO | FEATURE_REINIT);
    return check_sizes(o, err);
}

int options_parse(struct options *o, int argc, const char *const argv[],
                  struct vfm_error *err)
{
    options_default(o);
    for (int i = 1; i < argc; i++) {
        int ret = parse_one(o, &i, argc, argv, err);

        if (ret < 0)
            return ret;
    }
    return o->help || o->version || o->list_mutants ? 0 : check(o, err);
}

void options_print_mutants(void)
{
    for (int m = MUTANT_NONE + 1; m < NUM_MUTANTS; m++)
        printf("%-32s  %s\n", mutant_name((enum mutant)m),
               mutant_sentence((enum mutant)m));
}

void options_print_help(void)
{
    printf("usage: vfmig-device --socket PATH | --fd N [OPTION]...\n"
           "\n"
           "Serves an emulated PCI device that can be migrated.\n"
           "\n");
    for (size_t i = 0; i < NUM_OPTIONS; i++) {
        const struct option *o = &table[i];
        int width = printf("  --%s%s%s", o->name, o->argument ? " " : "",
                           o->argument ? o->argument : "");

        printf("%*s%s\n", width < 32 ? 32 - width : 2, "", o->help);
    }
    printf("\nSizes may end in K, M or G.  See vfmig-device(1) for WHERE and "
           "PART.\n");
}

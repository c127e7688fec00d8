#!/usr/bin/python3
# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""Every call that can fail fails once, wherever it is reached.

For each scenario the calls are counted, and then each of them fails in a run of
its own.  See docs/faults.md.
"""
import argparse
import collections
import errno
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import bench
from commands import COMMANDS
from rest import RESTS
from scenarios import MOVES, Verdict
from servers import SERVERS

SCENARIOS = {**MOVES, **RESTS, **COMMANDS, **SERVERS}

# With what a function fails; SHORT: it moves one byte.
SHORT = "short"
MEMORY = ("ENOMEM",)
ERRNOS = {
    "read": ("EIO", "EINTR", SHORT), "write": ("EIO", "EINTR", SHORT),
    "pread64": ("EIO", "EINTR", SHORT), "pwrite64": ("EIO", "EINTR", SHORT),
    "readv": ("EIO", "EINTR", SHORT), "writev": ("ENOSPC", "EINTR", SHORT),
    "sendmsg": ("ENOBUFS", "EINTR", SHORT),
    "recvmsg": ("ENOMEM", "EINTR", SHORT),
    "recv": ("ENOMEM", "EINTR", SHORT),
    "session-read": ("EIO", "EINTR", SHORT),
    "session-write": ("EIO", "EINTR", SHORT),
    "poll": ("ENOMEM", "EINTR"),
    "socket": ("EMFILE",), "socketpair": ("EMFILE",), "pipe2": ("EMFILE",),
    "accept4": ("EMFILE", "EINTR", "ECONNABORTED"),
    "epoll_create1": ("EMFILE",), "eventfd": ("EMFILE",),
    "timerfd_create": ("EMFILE",), "memfd_create": ("EMFILE",),
    "pidfd_open": ("EMFILE",), "open64": ("EMFILE",), "openat64": ("EMFILE",),
    "fcntl64": ("EMFILE",), "epoll_ctl": ("ENOSPC",),
    "bind": ("EACCES",), "listen": ("EADDRINUSE",),
    "connect": ("EACCES", "EINTR"), "shutdown": ("ENOTCONN",),
    "getsockopt": ("ENOBUFS",), "setsockopt": ("ENOBUFS",),
    "getsockname": ("ENOBUFS",), "getaddrinfo": (-10,), "getnameinfo": (-10,),
    "fsync": ("EIO",), "close": ("EIO",), "fflush": ("ENOSPC",),
    "fclose": ("ENOSPC",), "fclose-memory": MEMORY, "waitid": ("ECHILD", "EINTR"), "waitpid": ("ECHILD",),
    "kill": ("EPERM",), "posix_spawn": ("EAGAIN",), "ioctl": ("EIO",),
    "sigaction": ("EINVAL",), "timerfd_settime": ("ECANCELED",),
    "getrandom": ("EAGAIN",), "linkat": ("EDQUOT",), "renameat": ("EIO",),
    "unlink": ("EACCES",), "unlinkat": ("EACCES",), "access": ("EACCES",),
    "stat64": ("EACCES",), "lstat64": ("EACCES",), "fstat64": ("EIO",),
    "readlink": ("EACCES",), "realpath": ("EACCES",),
    "opendir": ("EMFILE",), "fopen64": ("EMFILE",),
    "posix_spawn_file_actions_init": MEMORY,
    "posix_spawn_file_actions_adddup2": MEMORY,
    "posix_spawn_file_actions_addclosefrom_np": MEMORY,
    "posix_spawnattr_setflags": ("EINVAL",),
    "sigpending": ("EFAULT",),
    "fchmod": ("EPERM",), "fdopen": MEMORY, "mkdir": ("EACCES",),
    "mkostemp64": ("EACCES",), "mkstemp64": ("EACCES",), "rename": ("EIO",),
    "open_memstream": MEMORY, "scandir64": ("EMFILE",), "lseek64": ("EIO",),
    "tmpfile64": ("EMFILE",), "signalfd": ("EMFILE",), "ftruncate64": ("EIO",),
    "strndup": MEMORY, "mremap": MEMORY, "madvise": ("EINVAL",),
    "malloc": MEMORY, "calloc": MEMORY, "realloc": MEMORY,
    "reallocarray": MEMORY, "aligned_alloc": MEMORY, "strdup": MEMORY,
    "asprintf": MEMORY, "posix_memalign": MEMORY, "mmap64": MEMORY,
}

# What the program and the library call besides: cannot fail, or fails only by the
# caller's mistake, or is one of stdio's, whose failures the end of the program
# finds (fclose).  What json-c and zstd need for themselves is counted where they ask
# for it.
CANNOT_FAIL = set("""
    XXH128_canonicalFromHash XXH3_128bits_digest XXH3_128bits_dispatch
    XXH3_128bits_reset XXH3_128bits_update XXH3_128bits_update_dispatch
    XXH3_createState XXH3_freeState XXH3_128bits
    __assert_fail __ctype_b_loc __ctype_tolower_loc __ctype_toupper_loc __cxa_finalize __environ
    __errno_location __libc_start_main __stack_chk_fail environ
    _ITM_deregisterTMCloneTable _ITM_registerTMCloneTable __gmon_start__
    clock_gettime free freeaddrinfo gai_strerror getenv getopt_long inet_pton isatty
    __fpurge clearerr memchr memcmp memcpy memmove memset optarg opterr optind optopt
    posix_spawn_file_actions_destroy posix_spawnattr_destroy
    posix_spawnattr_init posix_spawnattr_setsigdefault
    posix_spawnattr_setsigmask pthread_mutex_destroy pthread_mutex_init
    pthread_mutex_lock pthread_mutex_unlock pthread_sigmask qsort sigaddset
    sigemptyset sigfillset sigismember sigtimedwait snprintf strcasecmp strchr
    strcmp strcpy strcspn strerror strlen strncmp strncpy strnlen strrchr
    strsignal strspn strstr strtol strtoul strtoull sysconf umask vsnprintf
    closedir munmap readdir64 alphasort64 atoi
    ferror fgets fileno fprintf fputc fputs fwrite printf putc putchar puts
    stderr stdin stdout
    raise signal sigprocmask __sigsetjmp siglongjmp strtok_r strtoull memmem
    __isoc99_fscanf __isoc99_sscanf fnmatch getpid mallopt nanosleep clock_nanosleep
    dl_iterate_phdr
    strerrorname_np
    json_object_array_add json_object_get_boolean json_object_get_int64
    json_object_is_type json_object_new_array json_object_new_object
    json_object_new_string json_object_new_uint64 json_object_object_add
    json_object_object_get_ex json_object_put json_object_to_json_string_ext
    json_tokener_free json_tokener_get_error json_tokener_new_ex
    json_tokener_parse_ex
    ZSTD_CCtx_reset ZSTD_CCtx_setParameter ZSTD_compressStream2
    ZSTD_createCCtx ZSTD_createDCtx ZSTD_decompressDCtx ZSTD_freeCCtx
    ZSTD_freeDCtx ZSTD_getErrorName ZSTD_isError
    XXH3_64bits_digest XXH3_64bits_reset XXH3_64bits_update_dispatch
    nettle_sha256_digest nettle_sha256_init nettle_sha256_update
    """.split())

# These are no failures: whoever meets one tries again or goes on.
HARMLESS_WAYS = ("EINTR", SHORT, "ECONNABORTED")

# What may fail without anybody's being told, and why.
HARMLESS = {
    "close": "the descriptor is gone all the same, and what it held was synced "
             "or acknowledged before",
    "setsockopt": "sizes of buffers and delays: slower, and right",
    "sigaction": "who cannot be interrupted in good order is ended by the signal",
    "sigpending": "then a signal that is raised counts as ours",
    "getrandom": "the name is taken from the clock",
    "access": "then the file gets a temporary name at once",
    "unlink": "the socket stays; the next listener replaces it",
    "madvise": "a page that is not there comes when it is touched",
    "kill": "who cannot be told to end is waited for",
}

# The same of a function in one place only: of the program's function there.
HARMLESS_AT = {
    ("sendmsg", "send_parts"): "a device's connection: tried again until the "
                               "request's deadline",
    ("recvmsg", "receive_some_header"): "the same",
    ("recv", "receive_some_body"): "the same",
    ("poll", "client_wait"): "the same",
    ("poll", "device_wait"): "the same",
    ("shutdown", "socket_finish"): "the devices have a new owner, and the "
                                   "channel is closed next",
    ("shutdown", "exec_finish"): "the same",
    ("waitid", "reap"): "then somebody else has waited for the command, and "
                        "what became of it matters no more",
    ("getnameinfo", "name_address"): "a peer is named for messages only",
    ("lstat64", "remove_socket"): "the socket stays; the next listener "
                                  "replaces it",
    ("poll", "wait_for_news"): "then it looks at once",
    ("poll", "vfm_migration_run"): "the same",
    ("poll", "wait_for_guests"): "the same",
    ("ioctl", "ioctl_retry"): "an estimate that a device does not tell, or "
                               "what goes before it",
    ("pread64", "kernel_access"): "configuration that cannot be read is asked "
                                  "for once more when the device has stopped",
    ("access", "address_has_iommufd"): "then it is opened by its group",
    ("read", "wait_fds"): "the counter stays, and wakes once more",
    ("read", "wait_begin"): "the same",
    ("write", "client_pass_on_news"): "a counter that is full, is readable",
    ("fcntl64", "occupy_standard_descriptors"): "one descriptor too many",
    ("fcntl64", "restore_flags"): "somebody else's descriptor stays as it is",
    ("fcntl64", "open_fd"): "it is inherited by what the program starts",
    ("fchmod", "extract_open"): "only who wrote the file can read it",
    ("fclose", "extract_abort"): "it was synced, or is thrown away",
    ("fclose", "join_close"): "a temporary file that was sent",
    ("fclose", "read_debugfs"): "it was read only",
    ("openat64", "open_temporary"): "then the file gets a temporary name at "
                                    "once",
    ("epoll_ctl", "watch_fd"): "tried again, and until then it is polled, with "
                               "a warning if that may take long",
    ("epoll_ctl", "forget"): "what is watched in vain wakes too often",
    ("timerfd_settime", "set_timer"): "then it is polled",
    ("malloc", "make_room"): "configuration that cannot be read is asked for "
                             "once more when the device has stopped",
    ("malloc", "provide"): "the same",
    ("fcntl64", "make_file"): "without shared memory the state goes by messages",
    ("ftruncate64", "make_file"): "the same",
    ("memfd_create", "make_file"): "the same",
    ("mmap64", "share"): "the same",
    ("malloc", "_IO_file_doallocate"): "unbuffered output",
}

# What a process keeps until it ends.
KEPT = {
    ("descriptor", "pipe2"): "a signal handler's",
    ("descriptor", "open64"): "in the place of a standard descriptor",
}

# What the numbers of getaddrinfo() mean.
GAI = {-10: "ENOMEM"}


def number(way):
    if way == SHORT:
        return SHORT
    return way if isinstance(way, int) else getattr(errno, way)


class Point:
    """A call that is to fail."""

    def __init__(self, function, nth, way):
        self.function, self.nth, self.way = function, nth, way

    def plan(self):
        return f"{self.function}:{self.nth}:{number(self.way)}"

    def text(self):
        return os.strerror(getattr(errno, GAI.get(self.way, self.way)))

    def is_said(self, line):
        return self.text() in line or \
            self.way == "ENOMEM" and "out of memory" in line

    def __str__(self):
        return f"{self.function} {self.nth} {self.way}"


def check_imports():
    """Everything that the programs call is known to fail or not to."""
    for program in bench.VFMIG, bench.DEVICE, str(bench.BUILD / "src" / "libvfmig.so.0"):
        out = subprocess.run(["nm", "-D", "--undefined-only", program],
                             capture_output=True, text=True, check=True).stdout
        names = {line.split()[-1].split("@")[0] for line in out.splitlines()}
        unknown = {n for n in names if n not in ERRNOS and
                   n not in CANNOT_FAIL and not n.startswith(
                       ("vfm_", "__asan", "__ubsan", "__lsan", "__sanitizer"))}
        if unknown:
            sys.exit(f"{program} calls {', '.join(sorted(unknown))}: can that "
                     "fail, and with what?")


def judge(scenario, point, v):
    """All that must be true of a run, whatever the scenario."""
    told = scenario.told()
    for t in scenario.ran():
        v.must(not t.hung, "hangs")
        v.must(t.code >= 0, f"killed by signal {-t.code}")
        v.must("Sanitizer" not in t.err, "a sanitizer found something")
    if told.struck is None:
        v.outcome = "not reached"
    if scenario.only_ends:
        return told
    if hasattr(scenario, "check_words"):
        scenario.check_words(point, told, v)
    else:
        check_words(scenario, point, told, v)
    for leak in told.leaks:
        v.must(leak[:2] in KEPT or
               leak[0] == "child" and point.function == "waitid",
               f"leaks {leak[0]} of {leak[1]} at "
               f"{bench.place(leak[2], scenario.binary)}")
    v.must(told.ended or any(t.code < 0 for t in scenario.ran()),
           "ended without its destructors")
    return told


def check_words(scenario, point, told, v):
    tool = scenario.victim
    lines = tool.errors()
    if tool.code == scenario.done:
        v.must(not lines, "done, and an error")
        if told.struck and point.way not in HARMLESS_WAYS:
            v.outcome += ", recovered"
            v.must(is_excused(scenario, point, told), "swallowed")
        return
    v.must(len(lines) == 1, f"{len(lines)} lines of errors")
    if len(lines) == 1:
        v.must(re.match(r"vfmig: \S.*: \S", lines[0]), "not WHO: WHAT: WHY")
        v.must(told.struck is not None, "fails without a fault")
        v.must(point.way not in HARMLESS_WAYS, "fails because of nothing")
        if told.struck and point.way not in HARMLESS_WAYS:
            v.must(point.is_said(lines[0]), f"does not say {point.text()!r}")


def is_excused(scenario, point, told):
    """Known to be harmless; or told by a warning, which is as good."""
    tool = scenario.victim
    where = bench.place(told.struck, scenario.binary).split(" ")[0]
    # Both sides have heard all there is to hear, whatever fails after it: one of
    # them lingers until the other has hung up.
    heard = where in ("socket_recv", "wait_events") and \
        all(t.code == 0 for t in scenario.ran())
    return point.function in HARMLESS or heard or \
        (point.function, where) in HARMLESS_AT or \
        any(line.startswith("vfmig: warning: ") and point.is_said(line)
            for line in tool.err.splitlines())


def choose(count, most):
    """At most `most` of the calls, if that is not 0: the first and the last, and
    of the others every so many."""
    if most == 0 or count <= most:
        return range(1, count + 1)
    ends = most // 4
    step = (count - 2 * ends) / (most - 2 * ends)
    middle = (ends + 1 + int(i * step) for i in range(most - 2 * ends))
    return sorted({*range(1, ends + 1), *middle,
                   *range(count - ends + 1, count + 1)})


class Worker(threading.Thread):
    """Devices of its own, and runs until there are no more points."""

    def __init__(self, matrix, folder):
        super().__init__()
        self.matrix, self.folder = matrix, folder
        folder.mkdir()
        self.trouble = None

    def run(self):
        scenario = None
        try:
            while not self.matrix.stop:
                try:
                    cls, point = self.matrix.points.get_nowait()
                except queue.Empty:
                    break
                if type(scenario) is not cls:
                    if scenario is not None:
                        scenario.close()
                    scenario = cls(self.folder)
                try:
                    self.matrix.once(scenario, point)
                except bench.BROKEN as e:
                    self.matrix.give_up(scenario, point, e)
                    scenario.close()
                    scenario = None
        except BaseException as e:
            self.trouble = e
            self.matrix.stop = True
            raise
        finally:
            if scenario is not None:
                scenario.close()


class Matrix:
    """The runs and what became of them."""

    def __init__(self, options):
        self.options = options
        self.points = queue.Queue()
        self.lock = threading.Lock()
        self.rows = collections.defaultdict(collections.Counter)
        self.places = collections.defaultdict(set)
        self.all_places = set()
        self.calls = self.scenarios = 0
        self.wrong = []
        self.stop = False
        self.was_interrupted = False

    def interrupt(self):
        self.stop = True
        self.was_interrupted = True

    def count(self, cls, folder):
        """The calls of one run in which nothing fails."""
        scenario = cls(folder)
        try:
            scenario.run("")
            v = Verdict()
            scenario.judge(v)
            told = scenario.told()
            if v.wrong or scenario.victim.code != scenario.done:
                sys.exit(f"{cls.name}: fails without a fault: {v.wrong}\n"
                         f"{scenario.story()}")
            return told.counts
        finally:
            scenario.close()

    def plan(self, cls, counts):
        self.scenarios += 1
        for function, count in sorted(counts.items()):
            if self.options.function and function != self.options.function:
                continue
            if function not in ERRNOS:
                sys.exit(f"{function}: with what does it fail?")
            self.calls += count
            for way in ERRNOS[function]:
                for nth in choose(count, self.options.most):
                    self.points.put((cls, Point(function, nth, way)))

    def once(self, scenario, point):
        started = bench.now()
        scenario.run(point.plan())
        v = Verdict()
        scenario.judge(v)
        told = judge(scenario, point, v)
        took = bench.now() - started
        with self.lock:
            row = self.rows[scenario.name, point.function]
            row["runs"] += 1
            row[v.outcome if not v.wrong else "WRONG"] += 1
            row["ms"] += int(took * 1000)
            if told.struck:
                row["injected"] += 1
                self.places[scenario.name, point.function].add(told.struck)
                self.all_places.add((scenario.binary, point.function,
                                     told.struck))
            if v.wrong:
                self.complain(scenario, point, v, told)

    def give_up(self, scenario, point, trouble):
        v = Verdict()
        v.must(False, f"the devices or the tools are gone: {trouble!r}")
        with self.lock:
            row = self.rows[scenario.name, point.function]
            row["runs"] += 1
            row["WRONG"] += 1
            self.complain(scenario, point, v, bench.Told(scenario.log))

    def complain(self, scenario, point, v, told):
        place = bench.place(told.struck, scenario.binary) \
            if told.struck and scenario.victim else "-"
        self.wrong.append((scenario.name, point, v.wrong, place))
        print(f"WRONG {scenario.name} {point} at {place}: "
              f"{'; '.join(v.wrong)}")
        if not self.options.quiet and scenario.victim:
            print("    " + scenario.story().replace("\n", "\n    "))
        sys.stdout.flush()

    def run(self, names):
        with tempfile.TemporaryDirectory(prefix="vfmig-faults.") as top:
            for name in names:
                folder = Path(top) / name
                folder.mkdir()
                self.plan(SCENARIOS[name], self.count(SCENARIOS[name], folder))
            workers = [Worker(self, Path(top) / f"worker{i}")
                       for i in range(self.options.jobs)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            return not self.was_interrupted and \
                not any(w.trouble for w in workers)

    def report(self):
        print(f"\n{'scenario':<18}{'function':<42}{'places':>7}{'runs':>6}"
              f"{'struck':>7}  outcomes")
        total = collections.Counter()
        for (name, function), row in sorted(self.rows.items()):
            words = ", ".join(
                f"{n} {outcome}" for outcome, n in sorted(row.items())
                if outcome not in ("runs", "injected", "ms"))
            places = len(self.places[name, function])
            print(f"{name:<18}{function:<42}{places:>7}{row['runs']:>6}"
                  f"{row['injected']:>7}  {words}")
            total.update(row)
        self.report_sum(total)

    def report_sum(self, total):
        outcomes = collections.Counter(
            {outcome: n for outcome, n in total.items()
             if outcome not in ("runs", "injected", "ms")})
        print("\noutcomes: " + ", ".join(f"{n} {outcome}" for outcome, n in
                                         outcomes.most_common()))
        good = total["runs"] - total["WRONG"]
        print(f"{self.calls} calls that can fail in {self.scenarios} scenarios, "
              f"at {len(self.all_places)} places in the code; "
              f"{total['runs']} runs, {total['injected']} faults injected, "
              f"{total['WRONG']} wrong: "
              f"{100 * good // max(1, total['runs'])} % ended well")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", nargs="*", choices=[*SCENARIOS, []])
    parser.add_argument("--function", help="only this one")
    parser.add_argument("--most", type=int, default=0, help="so many calls of "
                        "a function in a scenario; 0, which it is without: all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    check_imports()
    matrix = Matrix(options)
    # Whoever has no more time gets to see how far it came, and devices end.
    for number in signal.SIGTERM, signal.SIGINT:
        signal.signal(number, lambda *_: matrix.interrupt())
    started = bench.now()
    finished = matrix.run(options.scenario or list(SCENARIOS))
    matrix.report()
    print(f"{bench.now() - started:.0f} s")
    sys.exit(0 if finished and not matrix.wrong else 1)


if __name__ == "__main__":
    main()

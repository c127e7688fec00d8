/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of mutants: their names, and what is wrong with each.
 *
 * What they do is where the correct device does it, or in mutant-*.c.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "emulator/mutant.h"
#include "util/error.h"

/* Names that are told to whoever got one wrong, at most. */
#define NEAR_MAX 4

static const struct {
    const char *name;
    const char *sentence;
} mutants[] = {
    /* Transitions. */
    [MUTANT_STOP_COPY_TO_PRE_COPY] = { "stop-copy-to-pre-copy",
                                       "STOP_COPY may be left for the PRE_COPY states" },
    [MUTANT_SET_ERROR_ACCEPTED] = { "set-error-accepted",
                                    "a driver may put it into ERROR" },
    [MUTANT_ERROR_LEFT_BY_SET] = { "error-left-by-set",
                                   "a refused load is ERROR, which any change of state leaves" },
    [MUTANT_ERROR_SURVIVES_RESET] = { "error-survives-reset",
                                      "a refused load is ERROR, which a reset does not leave" },
    [MUTANT_RESUMING_TO_STOP_COPY_REFUSED] = { "resuming-to-stop-copy-refused",
                                               "RESUMING to STOP_COPY, over STOP, is refused" },
    [MUTANT_PRE_COPY_TO_STOP_REFUSED] = { "pre-copy-to-stop-refused",
                                          "PRE_COPY to STOP, over RUNNING, is refused" },
    [MUTANT_STOP_TO_RUNNING_P2P_REFUSED] = { "stop-to-running-p2p-refused",
                                             "the arc from STOP to RUNNING_P2P is refused" },
    [MUTANT_PRE_COPY_P2P_TO_PRE_COPY_REFUSED] = { "pre-copy-p2p-to-pre-copy-refused",
                                                  "the arc from PRE_COPY_P2P to PRE_COPY is refused" },
    [MUTANT_RUNNING_TO_RESUMING_REFUSED] = { "running-to-resuming-refused",
                                             "RUNNING to RESUMING must be walked in single steps" },
    [MUTANT_RESUMING_TO_STOP_COPY_RUNS] = { "resuming-to-stop-copy-runs",
                                            "RESUMING to STOP_COPY goes through RUNNING for some ms" },
    [MUTANT_REFUSED_ARC_MOVES] = { "refused-arc-moves",
                                   "STOP_COPY to PRE_COPY is refused in STOP, half-way" },
    [MUTANT_UNKNOWN_STATE_MOVES] = { "unknown-state-moves",
                                     "a state that does not exist is refused, and it is in STOP" },
    [MUTANT_UNKNOWN_STATE_ACCEPTED] = { "unknown-state-accepted",
                                        "states above the last succeed and do nothing" },
    [MUTANT_SAME_STATE_REFUSED] = { "same-state-refused",
                                    "the state that it is in is refused" },
    [MUTANT_SAME_STATE_OPENS_SESSION] = { "same-state-opens-session",
                                          "the saving state that it is in begins the session anew" },
    [MUTANT_SAME_STATE_DROPS_LOAD] = { "same-state-drops-load",
                                       "RESUMING in RESUMING forgets what was written" },
    [MUTANT_P2P_NOT_ENTERED] = { "p2p-not-entered",
                                 "RUNNING to RUNNING_P2P succeeds and stays in RUNNING" },
    [MUTANT_GET_STATE_HIDES_P2P] = { "get-state-hides-p2p",
                                     "the P2P states are told as RUNNING and PRE_COPY" },
    [MUTANT_GET_STATE_LATE] = { "get-state-late",
                                "the first question after a step tells the state before it" },
    [MUTANT_END_CHANGES_STATE] = { "end-changes-state",
                                   "whoever reads the end of the state finds it in STOP" },

    /* Features. */
    [MUTANT_CLAIMS_P2P] = { "claims-p2p",
                            "it claims P2P and has none of its states" },
    [MUTANT_CLAIMS_PRE_COPY] = { "claims-pre-copy",
                                 "it claims PRE_COPY and has none of its states" },
    [MUTANT_HIDES_P2P] = { "hides-p2p",
                           "its flags lack P2P, whose states it has" },
    [MUTANT_FEATURE_FLAGS_UNCHECKED] = { "feature-flags-unchecked",
                                         "flags of a feature that mean nothing are taken" },
    [MUTANT_FEATURE_ARGSZ_UNCHECKED] = { "feature-argsz-unchecked",
                                         "features are done whatever argsz is" },
    [MUTANT_FEATURE_GET_AND_SET] = { "feature-get-and-set",
                                     "GET and SET at once are done as GET" },
    [MUTANT_PROBE_ACTS] = { "probe-acts",
                            "a probe of a change of state changes it" },
    [MUTANT_PROBE_DENIES] = { "probe-denies",
                              "a probe of MIG_DATA_SIZE, which works, says ENOTTY" },
    [MUTANT_GET_OF_SET_ONLY] = { "get-of-set-only",
                                 "LOG_START and LOG_STOP can be got" },
    [MUTANT_SET_OF_GET_ONLY] = { "set-of-get-only",
                                 "MIGRATION and MIG_DATA_SIZE can be set" },
    [MUTANT_UNKNOWN_FEATURE_SUCCEEDS] = { "unknown-feature-succeeds",
                                          "features that do not exist succeed" },

    /* Saving sessions. */
    [MUTANT_LAST_BYTE_LOST] = { "last-byte-lost",
                                "the last byte of the state is never given" },
    [MUTANT_FIRST_BYTE_LOST] = { "first-byte-lost",
                                 "the first byte of the state is never given" },
    [MUTANT_LARGE_READS_REPEAT] = { "large-reads-repeat",
                                    "reads of more than 64 KiB end with 64 bytes twice" },
    [MUTANT_SMALL_READS_DROP] = { "small-reads-drop",
                                  "reads of less than 512 bytes lose what is left of 512" },
    [MUTANT_ONE_BYTE_READS_SKIP] = { "one-byte-reads-skip",
                                     "reads of one byte lose the byte after it" },
    [MUTANT_ODD_READS_WRONG] = { "odd-reads-wrong",
                                 "the last byte of reads of an odd size is wrong" },
    [MUTANT_READS_TOO_MUCH] = { "reads-too-much",
                                "reads give up to 8 bytes more than asked for" },
    [MUTANT_ENOMSG_IN_STOP_COPY] = { "enomsg-in-stop-copy",
                                     "the end in STOP_COPY is ENOMSG" },
    [MUTANT_ZERO_IN_THE_MIDDLE] = { "zero-in-the-middle",
                                    "once in STOP_COPY a read gives nothing before the end" },
    [MUTANT_NO_END] = { "no-end", "after the end come zeros for ever" },
    [MUTANT_END_NOT_FOR_GOOD] = { "end-not-for-good",
                                  "a read after the end begins the state again" },
    [MUTANT_PRE_COPY_NEVER_DONE] = { "pre-copy-never-done",
                                     "in PRE_COPY there is always more to read" },
    [MUTANT_PRE_COPY_STARTS_OVER] = { "pre-copy-starts-over",
                                      "PRE_COPY to STOP_COPY begins the state again" },
    [MUTANT_PRE_COPY_P2P_STARTS_OVER] = { "pre-copy-p2p-starts-over",
                                          "PRE_COPY to PRE_COPY_P2P begins the state again" },
    [MUTANT_SECOND_SAVE_CONTINUES] = { "second-save-continues",
                                       "the second saving session goes on where the first was" },
    [MUTANT_ABORTED_SAVE_LEFT_OVER] = { "aborted-save-left-over",
                                        "a save begins with what an aborted one left of a record" },
    [MUTANT_SESSION_SURVIVES_STOP] = { "session-survives-stop",
                                       "after STOP_COPY the state can be read in STOP" },
    [MUTANT_SESSION_SURVIVES_RUNNING] = { "session-survives-running",
                                          "after a saving state the state can be read in RUNNING" },
    [MUTANT_READ_IN_RESUMING] = { "read-in-resuming",
                                  "reads succeed in RESUMING" },
    [MUTANT_WRITE_IN_STOP_COPY] = { "write-in-stop-copy",
                                    "writes succeed in STOP_COPY" },
    [MUTANT_WRITE_IN_STOP] = { "write-in-stop", "writes succeed in STOP" },
    [MUTANT_SAVE_HARMS_REGISTER] = { "save-harms-register",
                                     "the last scratch register is zero after STOP_COPY" },
    [MUTANT_CLOSE_WHILE_SAVING_RESETS] = { "close-while-saving-resets",
                                           "a client that leaves in a saving state resets it" },

    /* Estimates. */
    [MUTANT_DATA_SIZE_ZERO] = { "data-size-zero", "MIG_DATA_SIZE is always 0" },
    [MUTANT_DATA_SIZE_HUGE] = { "data-size-huge",
                                "MIG_DATA_SIZE is always the largest number" },
    [MUTANT_DATA_SIZE_IN_PAGES] = { "data-size-in-pages",
                                    "MIG_DATA_SIZE counts pages" },
    [MUTANT_DATA_SIZE_NEVER_SHRINKS] = { "data-size-never-shrinks",
                                         "MIG_DATA_SIZE is the whole state, however much was read" },
    [MUTANT_DATA_SIZE_REFUSED_IN_STOP] = { "data-size-refused-in-stop",
                                           "MIG_DATA_SIZE is refused in STOP" },
    [MUTANT_INITIAL_NEVER_ZERO] = { "initial-never-zero",
                                    "initial_bytes is never less than a page" },
    [MUTANT_INITIAL_GROWS] = { "initial-grows",
                               "initial_bytes grows with what is read" },
    [MUTANT_DIRTY_NEVER_REPORTED] = { "dirty-never-reported",
                                      "dirty_bytes is always 0" },
    [MUTANT_DIRTY_NEVER_ZERO] = { "dirty-never-zero",
                                  "dirty_bytes is never less than 64 MiB" },
    [MUTANT_PRECOPY_INFO_IN_STOP_COPY] = { "precopy-info-in-stop-copy",
                                           "PRECOPY_INFO works in STOP_COPY" },
    [MUTANT_PRECOPY_INFO_IN_RUNNING] = { "precopy-info-in-running",
                                         "PRECOPY_INFO works in RUNNING" },

    /* Loads. */
    [MUTANT_LOAD_FORGETS_SCRATCH] = { "load-forgets-scratch",
                                      "the last scratch register is not loaded" },
    [MUTANT_LOAD_FORGETS_COUNTER] = { "load-forgets-counter",
                                      "the counter is not loaded" },
    [MUTANT_LOAD_FORGETS_REWRITES] = { "load-forgets-rewrites",
                                       "pages that were rewritten are loaded as they once were" },
    [MUTANT_LOAD_FORGETS_MSIX_TABLE] = { "load-forgets-msix-table",
                                         "the MSI-X table is not loaded" },
    [MUTANT_LOAD_FORGETS_LAST_PAGE] = { "load-forgets-last-page",
                                        "the last page of BAR2 is not loaded" },
    [MUTANT_LOAD_MERGES] = { "load-merges",
                             "bits that were set before the load stay set, in scratch and BAR2" },
    [MUTANT_LOAD_ONLY_ONCE] = { "load-only-once",
                                "all loads after the first succeed and do nothing, until a "
                                "reset" },
    [MUTANT_SAVE_FORGETS_DMA_RATE] = { "save-forgets-dma-rate",
                                       "the rate of the DMA engine is saved as 0" },
    [MUTANT_LOAD_ACCEPTS_TRUNCATED] = { "load-accepts-truncated",
                                        "a state that ends early is taken as far as it goes" },
    [MUTANT_LOAD_ACCEPTS_NO_TRAILER] = { "load-accepts-no-trailer",
                                         "a state without its last record is taken" },
    [MUTANT_LOAD_ACCEPTS_EMPTY] = { "load-accepts-empty",
                                    "no state at all is taken" },
    [MUTANT_LOAD_ACCEPTS_FOREIGN] = { "load-accepts-foreign",
                                      "bytes that are no state of such a device are taken" },
    [MUTANT_LOAD_ACCEPTS_DOUBLED] = { "load-accepts-doubled",
                                      "bytes after the end are taken" },
    [MUTANT_LOAD_IGNORES_HEADER] = { "load-ignores-header",
                                     "a damaged header is taken" },
    [MUTANT_LOAD_IGNORES_MEMORY] = { "load-ignores-memory",
                                     "damaged device memory is taken" },
    [MUTANT_LOAD_IGNORES_REGISTERS] = { "load-ignores-registers",
                                        "damaged registers, BAR2 and MSI-X tables are taken" },
    [MUTANT_LOAD_IGNORES_TRAILER] = { "load-ignores-trailer",
                                      "a damaged trailer is taken" },
    [MUTANT_LOAD_ERROR_HIDDEN] = { "load-error-hidden",
                                   "a load that is refused succeeds, and does nothing" },
    [MUTANT_LOAD_ERROR_GOES_RUNNING] = { "load-error-goes-running",
                                         "a load that is refused leaves it running" },
    [MUTANT_LOAD_ERROR_GOES_STOP_COPY] = { "load-error-goes-stop-copy",
                                           "a load that is refused leaves it in STOP_COPY" },
    [MUTANT_LARGE_WRITES_CUT] = { "large-writes-cut",
                                  "writes lose what is beyond 64 KiB" },
    [MUTANT_ODD_WRITES_CUT] = { "odd-writes-cut",
                                "writes of an odd size lose the last byte" },
    [MUTANT_ONE_BYTE_WRITES_LOST] = { "one-byte-writes-lost",
                                      "writes of one byte are lost" },
    [MUTANT_ABORTED_LOAD_LEFT_OVER] = { "aborted-load-left-over",
                                        "a load goes on where one that was given up had stopped" },

    /* Reset. */
    [MUTANT_RESET_GOES_STOP] = { "reset-goes-stop", "a reset ends in STOP" },
    [MUTANT_RESET_KEEPS_STOP_COPY] = { "reset-keeps-stop-copy",
                                       "a reset does nothing in STOP_COPY" },
    [MUTANT_RESET_KEEPS_RESUMING] = { "reset-keeps-resuming",
                                      "a reset does nothing in RESUMING" },
    [MUTANT_RESET_KEEPS_SESSION] = { "reset-keeps-session",
                                     "after a reset in a saving state reads go on" },
    [MUTANT_RESET_KEEPS_SCRATCH] = { "reset-keeps-scratch",
                                     "scratch registers survive a reset" },
    [MUTANT_RESET_KEEPS_MEMORY] = { "reset-keeps-memory",
                                    "BAR2 survives a reset" },
    [MUTANT_RESET_KEEPS_CAUSE] = { "reset-keeps-cause",
                                   "causes of interrupts survive a reset" },
    [MUTANT_RESET_KEEPS_DMA] = { "reset-keeps-dma",
                                 "a DMA operation under way survives a reset" },

    /* Running, and DMA. */
    [MUTANT_P2P_WRITES_DROPPED] = { "p2p-writes-dropped",
                                    "in RUNNING_P2P what is written to it is dropped" },
    [MUTANT_COUNTER_RUNS_IN_STOP] = { "counter-runs-in-stop",
                                      "the counter counts while the device is stopped" },
    [MUTANT_COUNTER_LOST_AT_STOP] = { "counter-lost-at-stop",
                                      "the counter begins at 0 when the device runs again" },
    [MUTANT_DMA_IN_STOP] = { "dma-in-stop", "DMA goes on in STOP" },
    [MUTANT_DMA_IN_STOP_COPY] = { "dma-in-stop-copy",
                                  "DMA goes on in STOP_COPY" },
    [MUTANT_DMA_IN_RUNNING_P2P] = { "dma-in-running-p2p",
                                    "DMA goes on in RUNNING_P2P" },
    [MUTANT_DMA_IN_PRE_COPY_P2P] = { "dma-in-pre-copy-p2p",
                                     "DMA goes on in PRE_COPY_P2P" },
    [MUTANT_DMA_LATE] = { "dma-late",
                          "DMA goes on for some ms after the step that stops it" },
    [MUTANT_DMA_ANEW_AFTER_STOP] = { "dma-anew-after-stop",
                                     "a DMA operation under way begins anew after a stop" },
    [MUTANT_DMA_ANEW_AFTER_LOAD] = { "dma-anew-after-load",
                                     "a DMA operation under way begins anew after a load" },
    [MUTANT_DMA_DROPPED_BY_LOAD] = { "dma-dropped-by-load",
                                     "a DMA operation under way is forgotten by a load" },

    /* The log of DMA. */
    [MUTANT_LOG_MISSES_LAST_PAGE] = { "log-misses-last-page",
                                      "of a write to several pages the last is not logged" },
    [MUTANT_LOG_OFF_BY_ONE] = { "log-off-by-one",
                                "the log marks the page after the one that was written" },
    [MUTANT_LOG_MISSES_WORD_END] = { "log-misses-word-end",
                                     "the last page of each 64 is never logged" },
    [MUTANT_LOG_NOT_CLEARED] = { "log-not-cleared",
                                 "a report does not clear the log" },
    [MUTANT_LOG_CLEARED_WHOLE] = { "log-cleared-whole",
                                   "a report of a part clears all of the log" },
    [MUTANT_LOG_LOST_AT_STOP] = { "log-lost-at-stop",
                                  "the log is empty once the device has stopped" },
    [MUTANT_LOG_SLEEPS_IN_PRE_COPY] = { "log-sleeps-in-pre-copy",
                                        "what is written in PRE_COPY is not logged" },
    [MUTANT_LOG_PAGE_SIZE_IGNORED] = { "log-page-size-ignored",
                                       "reports have a bit per page of the log, whatever was asked" },
    [MUTANT_LOG_PAGE_SIZE_UNCHECKED] = { "log-page-size-unchecked",
                                         "the log begins with page sizes that are none" },
    [MUTANT_LOG_RANGES_IGNORED] = { "log-ranges-ignored",
                                    "pages outside the ranges are logged" },
    [MUTANT_LOG_FIRST_RANGE_ONLY] = { "log-first-range-only",
                                      "only the first of several ranges is logged" },
    [MUTANT_LOG_READS_TOO] = { "log-reads-too",
                               "pages that the device only read are logged" },
    [MUTANT_LOG_SURVIVES_STOP] = { "log-survives-stop",
                                   "reports work after LOG_STOP" },
    [MUTANT_LOG_STARTS_TWICE] = { "log-starts-twice",
                                  "LOG_START succeeds while the log is on" },
    [MUTANT_LOG_REPORTS_UNSTARTED] = { "log-reports-unstarted",
                                       "reports succeed, empty, without LOG_START" },

    /* Interrupts. */
    [MUTANT_IRQ_CAUSE_LOST_BY_LOAD] = { "irq-cause-lost-by-load",
                                        "causes of interrupts are not loaded" },
    [MUTANT_IRQ_CAUSE_LOST_AT_STOP] = { "irq-cause-lost-at-stop",
                                        "causes of interrupts are forgotten when it stops" },
    [MUTANT_IRQ_ENABLE_LOST_BY_LOAD] = { "irq-enable-lost-by-load",
                                         "which causes are enabled is not loaded" },
    [MUTANT_IRQ_VECTOR_LOST_BY_LOAD] = { "irq-vector-lost-by-load",
                                         "the interrupt vector is not loaded" },
    [MUTANT_IRQ_AGAIN_AFTER_LOAD] = { "irq-again-after-load",
                                      "interrupts that were sent before a save are sent again" },
    [MUTANT_IRQ_DOUBLED] = { "irq-doubled", "every interrupt is sent twice" },
    [MUTANT_IRQ_IN_STOP] = { "irq-in-stop",
                             "interrupts are sent while it is stopped" },
    [MUTANT_IRQ_MASKED_LOST] = { "irq-masked-lost",
                                 "an interrupt raised while it is masked is lost" },
    [MUTANT_IRQ_CUT_OFF_BY_STOP] = { "irq-cut-off-by-stop",
                                     "after a stop interrupts reach nobody" },

    /* Leaks. */
    [MUTANT_LEAK_DESCRIPTORS] = { "leak-descriptors",
                                  "every saving session costs it a descriptor" },
    [MUTANT_LEAK_MEMORY] = { "leak-memory",
                             "every loading session costs it 64 KiB" },
    [MUTANT_LEAK_SESSIONS] = { "leak-sessions",
                               "after a hundred sessions there are no more, until a reset" },
};
_Static_assert(sizeof(mutants) / sizeof(mutants[0]) == NUM_MUTANTS,
               "a row for every mutant");

const char *mutant_name(enum mutant mutant)
{
    return mutant < NUM_MUTANTS ? mutants[mutant].name : NULL;
}

const char *mutant_sentence(enum mutant mutant)
{
    return mutant < NUM_MUTANTS ? mutants[mutant].sentence : NULL;
}

static bool has_word(const char *name, const char *word, size_t length)
{
    while (*name != '\0') {
        size_t n = strcspn(name, "-");

        if (n == length && strncmp(name, word, n) == 0)
            return true;
        name += n + (name[n] == '-');
    }
    return false;
}

/* How many words of @wanted are in @name. */
static unsigned likeness(const char *name, const char *wanted)
{
    unsigned words = 0;

    while (*wanted != '\0') {
        size_t n = strcspn(wanted, "-");

        words += has_word(name, wanted, n);
        wanted += n + (wanted[n] == '-');
    }
    return words;
}

/* The names that have the most words in common with @wanted, ", " between. */
static void suggest(const char *wanted, char *text, size_t size)
{
    unsigned best = 1;
    size_t at = 0, count = 0;

    for (int m = MUTANT_NONE + 1; m < NUM_MUTANTS; m++) {
        unsigned words = likeness(mutants[m].name, wanted);

        if (words > best) {
            best = words;
            at = count = 0;
        }
        if (words < best || count == NEAR_MAX)
            continue;
        at += (size_t)snprintf(text + at, size - at, "%s%s",
                               count == 0 ? "" : ", ", mutants[m].name);
        count++;
    }
    text[count == 0 ? 0 : at] = '\0';
}

int mutant_parse(const char *name, enum mutant *mutant, struct vfm_error *err)
{
    char near[NEAR_MAX * 48];

    for (int m = MUTANT_NONE + 1; m < NUM_MUTANTS; m++) {
        if (strcmp(name, mutants[m].name) != 0)
            continue;
        *mutant = (enum mutant)m;
        return 0;
    }
    suggest(name, near, sizeof(near));
    if (near[0] == '\0')
        return error_set(err, -EINVAL, "--mutant %s: not in --list-mutants",
                         name);
    return error_set(err, -EINVAL, "--mutant %s: no such mutant; like it: %s",
                     name, near);
}

/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_MIGRATION_MIGRATION_H
#define VFM_SRC_MIGRATION_MIGRATION_H

/*
 * A migration from inside.
 *
 *   migration.c          the handle
 *   stage.c              the table of stages, both sides, and the loop over it
 *   source-*, target-*   the functions of that table
 *   unwind.c             what happens after a failure
 *   moves.c              transitions of all devices at once
 *   tracking.c           trackers of dirty pages, all at once
 *   lane.h               several channels
 *   talk.c               the channel: what goes out, what comes in, deadlines
 *   wait.c               the one descriptor, made of all that is waited for
 *   events.c             what the user's callbacks are told
 *   account.c, spent.c   what the time goes to
 *
 * Nothing in here waits.  A function that has to returns -EAGAIN, is called
 * again, and says meanwhile in struct wishes what it waits for beside the
 * devices.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <vfmig/migration.h>
#include <vfmig/stream.h>

#include "device/device.h"
#include "migration/inbox.h"
#include "migration/landing.h"
#include "migration/lane.h"
#include "migration/message.h"
#include "migration/outbox.h"
#include "migration/policy.h"
#include "migration/member.h"
#include "migration/span.h"
#include "migration/spent.h"
#include "migration/tracking.h"
#include "section/blob.h"
#include "section/ram-load.h"
#include "section/ram-save.h"
#include "stream/vmdescription.h"
#include "util/clock.h"

struct wishes {
    bool send;
    bool recv;
    bool data;           /* a device to give or take some */
    bool join;           /* somebody to connect */
    uint32_t lanes_send; /* a bit for each */
    uint32_t lanes_recv;
    int64_t wake_at; /* CLOCK_NEVER: nothing */
};

/* Where a migration that failed is. */
enum unwind_step {
    UNWIND_NONE,
    UNWIND_SETTLE,  /* calls under way are waited for */
    UNWIND_LISTEN,  /* the peer may have said why it hung up */
    UNWIND_RECOVER, /* devices are brought back */
    UNWIND_UNTRACK, /* nobody logs what they write any more */
    UNWIND_TELL,    /* the peer is told */
    UNWIND_LINGER,  /* until it has had the time to read it */
    UNWIND_OVER,
};

struct blocker {
    struct blocker *next;
    int number;
    char reason[];
};

/* The memory of a source. */
struct source_ram {
    struct ram_save *save;
    void *list; /* of its blocks, as they are announced */
    size_t list_len;

    struct vfm_dirty_range *ranges; /* where the guest sees it */
    size_t num_ranges;
    struct vfm_dirty_sink *dirty; /* over the bitmaps of the same names */
    struct vfm_dirty_sink *blind;

    bool syncing; /* the trackers are being asked */
    bool exact;   /* they have just been, and nobody has judged it yet */
    int64_t sync_began_at;
    int64_t synced_at;
    int64_t quiet_until; /* there was nothing new */
    uint64_t sync_ns;    /* the last one took */

    uint64_t sent_pages;   /* in this round */
    uint64_t pages_before; /* dirty, when the round before began */
    unsigned int hot;      /* rounds in a row that brought too little */
    unsigned int chances;  /* looks in a row within the limit */
    bool warned;           /* that it does not converge */
};

/* What only a source has. */
struct source {
    bool given;   /* a byte of `yours` may have left: not ours any more */
    bool ready;   /* the target said so, or says no such thing */
    bool loaded;  /* the target said so */
    bool running; /* the target said so */

    unsigned int turn; /* the device whose data is next */
    unsigned int acks_pending;
    bool acked;             /* by a QEMU that does so once */
    bool section_open;      /* of that device, an END section */
    struct member *sending; /* whose data is the outbox's body, or NULL */
    bool sending_ram;       /* it is a piece of memory */
    bool may_continue;      /* vfm_migration_continue() */
    struct source_ram ram;
    struct tracking tracking;
    bool lanes_over;     /* all that goes over them was sent */
    bool config_refused; /* some device's is to be had in STOP only */
    char *text;          /* the hello, then the vmdescription: being sent */

    int64_t asked_at;     /* the hello, then `yours`, was put */
    int64_t announced_at; /* the devices, all of them; 0: not yet */
    struct offset clock;
    bool told;                 /* the target has said what it did when */
    uint64_t there_ns[CAUSES]; /* as it says */

    bool switching;  /* it was decided to stop the devices */
    bool looking;    /* devices are being asked for sizes */
    int64_t look_at; /* when they are next */
    struct policy_rate link;
    struct policy_rate loading;
    uint64_t pieces;        /* of device data, sent so far */
    uint64_t pieces_before; /* when the policy was last asked */
    uint64_t sent_bytes;    /* of the sample that is growing */
    uint64_t sent_ns;
    int64_t send_began_at; /* 0: nothing is being sent */
    uint64_t loaded_bytes; /* as the target said last */
    uint64_t loaded_ns;
    uint64_t remaining;
    uint64_t expected_ns;
    uint64_t iterations;
};

/* What only a target has. */
_Static_assert(VFM_DEVICES_MAX <= 64, "target.configured has a bit for each");

struct target {
    bool ours;           /* `yours` was read, or nobody says it */
    bool source_running; /* the source's VM ran */
    bool source_stopped; /* its devices have stopped */
    bool stream_over;
    bool stream_cut;   /* the source ended it before its end */
    bool return_path;  /* a QEMU listens to messages */
    char machine[256]; /* what the stream says it is of */

    struct vfm_decoder *decoder;
    struct vfm_stream_event event; /* not yet fully used */
    bool has_event;
    size_t event_used;                   /* bytes of it */
    struct landing landing;              /* where its data is */
    struct member *loading;              /* whose section it is, or NULL */
    struct blob *blob;                   /* likewise */
    struct blob *arrived[VFM_BLOBS_MAX]; /* in the order of the stream */
    unsigned int num_arrived;
    struct ram_load *ram;
    bool ram_ended; /* its END section came */

    uint64_t loaded_bytes;
    uint64_t told_bytes; /* of those, the source knows of */
    uint64_t busy_ns;    /* of loading */
    int64_t busy_since;  /* 0: not now */

    unsigned int turn;   /* the device whose configuration is next; then: the
                          * span that the source is told next */
    bool asked;          /* it wants to be told */
    bool tells_ready;    /* and waits until ours are prepared */
    bool configs_asked;  /* before that; who refused is not asked twice */
    int64_t heard_at;    /* its hello, then `yours` */
    uint64_t configured; /* a bit for each device that has its own */
    uint64_t check_ns;
    struct vfm_error refusal; /* what the hello was answered with */
    char *text;               /* that answer: being sent */
    struct vmdescription *description;
};

struct vfm_migration {
    struct vfm_channel *channel;
    struct vfm_migration_options options;
    struct vfm_migration_callbacks callbacks;
    char *machine;

    struct member *members[VFM_DEVICES_MAX];
    unsigned int num_members;
    struct blocker *blockers;
    int last_blocker;

    struct vfm_ram *ram; /* NULL: none is moved */
    struct vfm_ram_stats ram_stats;
    struct blob *blobs[VFM_BLOBS_MAX];
    unsigned int num_blobs;
    uint64_t channel_bandwidth; /* the channel's own limit */

    int epoll_fd;
    int cancel_fd; /* an eventfd */
    int due_fd;
    int timer_fd;
    int64_t timer_at;
    struct watch *watches;
    struct wishes wishes;
    atomic_bool cancelled;

    enum vfm_stage stage;
    int step; /* within the stage; 0 when it begins */
    bool begun;
    bool over;
    int64_t began_at;
    int64_t stage_began_at;
    int64_t over_at;
    struct spent spent;
    int spent_for; /* the device, if the cause is one, or SPAN_NO_ONE */
    struct spans spans;
    struct span wait;     /* that may go on */
    uint64_t stage_bytes; /* on the channel, when the stage began */
    enum vfm_outcome outcome;
    struct vfm_error failure; /* the first; code 0 if none */
    bool failed_at_peer;      /* the channel, or what it said */

    bool moving; /* a move of all devices is under way */
    struct vfm_error move_failure;

    struct outbox outbox;
    struct inbox inbox;
    bool said;              /* the message that is to be said was put */
    int64_t heard_at;       /* when the peer last got something done */
    int64_t told_at;        /* when we last sent something */
    int64_t lanes_taken_at; /* when a lane last took something */
    int64_t taken_at; /* when nothing was last waiting to be sent, or less */

    bool quiet;      /* members_start() */
    bool paused;     /* the VM does not run, and so its devices don't */
    bool vm_stopped; /* by us */
    int64_t stopped_at;
    uint64_t downtime_ns;

    struct lanes lanes;
    struct source source;
    struct target target;

    enum unwind_step unwind;
    int64_t unwind_until;
    unsigned int unwind_round;
};

/* What is received in one go before the caller's loop has its turn: a peer that
 * never stops talking must not keep us from it. */
#define FILLS_MAX            16

/* A stream's sections: of the memory, of each device, of each blob. */
#define RAM_SECTION          0
#define DEVICE_SECTION_FIRST 1
#define BLOB_SECTION_FIRST   (DEVICE_SECTION_FIRST + VFM_DEVICES_MAX)

static inline bool is_source(const struct vfm_migration *m)
{
    return m->options.role == VFM_ROLE_SOURCE;
}

static inline bool peer_is(const struct vfm_migration *m, enum vfm_peer peer)
{
    return m->options.peer == peer;
}

/* The device that was added as @id, or NULL. */
struct member *migration_find(const struct vfm_migration *m, const char *id);

/* Whether what is left of the devices' state goes over several channels. */
static inline bool has_lanes(const struct vfm_migration *m)
{
    return m->lanes.count > 0;
}

/* Whether a source hears what its QEMU says. */
static inline bool has_return_path(const struct vfm_migration *m)
{
    return peer_is(m, VFM_PEER_QEMU) && m->options.return_path;
}

/* Whether the source says that the initial data of a device was sent. */
static inline bool announces_initial(const struct vfm_migration *m)
{
    return peer_is(m, VFM_PEER_VFMIG) || m->options.switchover_ack;
}

/* Whether a machine of that type acknowledges initial data once, for all of its
 * devices. */
bool acknowledges_once(const struct vfm_migration *m, const char *machine);

/* Whether there is memory that somebody writes while it is sent. */
static inline bool memory_is_live(const struct vfm_migration *m)
{
    return m->ram != NULL && !m->paused;
}

static inline int64_t peer_timeout_ns(const struct vfm_migration *m)
{
    return (int64_t)m->options.peer_timeout_ms * NS_PER_MS;
}

/* How often a side with nothing to say says so. */
static inline int64_t keep_alive_ns(const struct vfm_migration *m)
{
    return clock_min(NS_PER_SEC, peer_timeout_ns(m) / 4);
}

/* stage.c: does what can be done without waiting; m->over when it is over. */
void stages_run(struct vfm_migration *m);
/* Why the migration is refused as things stand; 0 if it is not. */
int blocker_get(const struct vfm_migration *m, unsigned int n,
                struct vfm_error *err);

/* unwind.c: begins with m->failure set.  0 when over, or -EAGAIN. */
void unwind_start(struct vfm_migration *m);
int unwind_run(struct vfm_migration *m);

/*
 * moves.c: moves every device to the state that @want says, all at once.
 * Returns 0 when all are there, -EAGAIN, or the first failure, once all have
 * ended.  @moved, if not NULL, is told how long each took.
 */
typedef enum vfm_state want_fn(const struct vfm_migration *m,
                               const struct member *member);
want_fn want_stop;
typedef void moved_fn(struct member *member, uint64_t ns);
int members_move(struct vfm_migration *m, want_fn *want, moved_fn *moved,
                 struct vfm_error *err);
/* Moves all to RUNNING: first all to RUNNING_P2P, if there are several, so that
 * none reaches for another that is still stopped.  *@quiet, false at first,
 * remembers that they are.  Returns as members_move(). */
int members_start(struct vfm_migration *m, bool *quiet, moved_fn *moved,
                  struct vfm_error *err);
/* Waits for whatever call is under way.  Returns 0 or -EAGAIN. */
int members_settle(struct vfm_migration *m);
/* The member whose section is called @section, or NULL; the blob. */
struct member *members_find(struct vfm_migration *m, const char *section);
struct blob *blobs_find(struct vfm_migration *m, const char *section);

/* wait.c */
int wait_init(struct vfm_migration *m, struct vfm_error *err);
void wait_close(struct vfm_migration *m);
/* Something has changed outside of a dispatch: the next one is due. */
void wait_wake(struct vfm_migration *m);
/* Drops what woke us and learns whether it was the user. */
void wait_begin(struct vfm_migration *m);
/* Makes the descriptor wait for what is wished for now. */
void wait_update(struct vfm_migration *m);
/* Says that a device's session is waited for if @ret, what it returned, is
 * -EAGAIN.  Returns @ret. */
int wish_data(struct vfm_migration *m, int ret);
/* Come back at @at at the latest. */
void wish_wake(struct vfm_migration *m, int64_t at);

/* talk.c: sends what is in the outbox.  0 when it is empty. */
int talk_flush(struct vfm_migration *m, struct vfm_error *err);
/* Puts a message into the outbox once that is empty, and sends it; m->said,
 * false at first, remembers that it was put.  0 when it was sent. */
int talk_say(struct vfm_migration *m, enum message_type type,
             const void *payload, size_t len, struct vfm_error *err);
/* Receives what is there.  0 if there is news, -EAGAIN if not, -ENODATA if the
 * peer sends no more. */
int talk_fill(struct vfm_migration *m, struct vfm_error *err);
/* Receives into @l instead.  1 when it is ready, 0 at the end of the stream,
 * -EAGAIN, or an error. */
int talk_land(struct vfm_migration *m, struct landing *l,
              struct vfm_error *err);
/* Receives the peer's hello, or its answer to ours: its JSON text, valid until
 * the inbox is filled again.  Returns 0, -EAGAIN, or an error. */
int talk_hear_hello(struct vfm_migration *m, const char **json, size_t *len,
                    struct vfm_error *err);
/* @ret is what a stage is about to return: if that is -EAGAIN, fails instead
 * if the peer has kept us waiting for too long, or sees to it that we come
 * back when it has. */
int talk_wait(struct vfm_migration *m, int ret, struct vfm_error *err);
/* The error that a MESSAGE_FAILED or MESSAGE_RETURNED is. */
int talk_failure(const struct vfm_migration *m, const struct message *msg,
                 struct vfm_error *err);

/* account.c: the stage that is left, or is the last, is over. */
void note_stage(struct vfm_migration *m);
/* A transition of @member is over. */
void note_arc(struct vfm_migration *m, const struct member *member);
/* From now on the time is spent on @cause.  Returns what it was
 * spent on before, for whoever is called from many places and gives it back. */
enum vfm_cause spend(struct vfm_migration *m, enum vfm_cause cause);
/* The same, for @member, or nobody's if NULL. */
enum vfm_cause spend_for(struct vfm_migration *m, enum vfm_cause cause,
                         const struct member *member);
/* Whether the device has taken all that was written: 0, -EAGAIN, an error. */
int flush_device(struct vfm_migration *m, const struct member *member,
                 struct vfm_error *err);
/* @n bytes of a device's state pass by, which were read, or were there to load,
 * at @began_at. */
void note_data(struct vfm_migration *m, struct member *member, const void *data,
               size_t n, bool stopped, int64_t began_at);

/* events.c */
void tell_stage(struct vfm_migration *m);
void tell_state(struct vfm_migration *m, const struct member *member);
__attribute__((format(printf, 2, 3))) void tell_warning(struct vfm_migration *m,
                                                        const char *fmt, ...);
/* Calls the user's slow_vm(); 0 percent only if it is slow. */
void vm_slow(struct vfm_migration *m, unsigned int percent);
/* Calls the user's stop_vm() or start_vm(), if there is one. */
int vm_stop(struct vfm_migration *m, struct vfm_error *err);
int vm_start(struct vfm_migration *m, struct vfm_error *err);
/* The downtime ends here. */
void note_downtime(struct vfm_migration *m);

#endif

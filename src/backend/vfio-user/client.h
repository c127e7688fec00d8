/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFM_SRC_BACKEND_VFIO_USER_CLIENT_H
#define VFM_SRC_BACKEND_VFIO_USER_CLIENT_H

/*
 * The connection to one vfio-user server and what is under way on it.
 *
 *   wire.c     bytes and descriptors
 *   client.c   requests and their replies, deadlines, the end of a connection
 *   dma.c      commands of the server
 *   version.c  the first exchange
 *   open.c     what is asked of a device when it is opened
 *   config.c   PCI configuration space
 *   call.c     the calls of struct device_ops
 *   reader.c   the saving session      writer.c  the loading session
 *   area.c     memory for both that the server shares
 *   memory.c   DMA mappings            irq.c     interrupts
 *   log.c      what was written        pieces.c  accesses to regions,
 *   region.c   mappable areas          access.c  and those that are waited for
 *   ops.c      the vtable, polling
 *
 * Two kinds of failure are kept apart throughout.  A server that refuses a
 * request answered it, and everything goes on.  A server that is silent, gone
 * or makes no sense has ended the connection: that is kept in client.lost, and
 * every later call fails the same way.
 */

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vfmig/vfio_user.h>

#include "backend/vfio-user/wire.h"
#include "device/device.h"
#include "protocol/vfio-uapi.h"

/* Messages that may be under way in one direction of a session. */
#define MAX_DEPTH               16

/* Bounds and defaults of the options. */
#define MIN_DATA_SIZE           (UINT32_C(4) << 10)
#define MAX_DATA_SIZE           (UINT32_C(16) << 20)
#define DEFAULT_READ_SIZE       (UINT32_C(1) << 20)
#define DEFAULT_WRITE_SIZE      (UINT32_C(32) << 10)
#define DEFAULT_READ_DEPTH      2
/* Of what is not in messages, no more than stays in a processor's cache. */
#define DEFAULT_AREA_PIECE      (UINT32_C(512) << 10)
#define DEFAULT_AREA_DEPTH      4
#define DEFAULT_WRITE_DEPTH     8
/* Of large ones, what the socket takes whole: what it does not is copied. */
#define WHOLE_WRITE_DEPTH       2

/* A message above 36,544 bytes can arrive in pieces, which some servers
 * mistake for messages. */
#define MAX_REGION_WRITE        (UINT32_C(32) << 10)

/* The largest piece of memory in one mapping, and the most of these: the report
 * of one is a message of 512 KiB. */
#define MAX_DMA_MAP             (UINT64_C(16) << 30)
#define MAX_DMA_MAPS            65535

/* What we tell the server to keep to. */
#define CLIENT_MAX_MSG_FDS      8
#define CLIENT_MIN_MAX_TRANSFER (UINT32_C(1) << 20)

/* What a reply may be longer than the longest we want: some servers answer
 * with more than they were asked for. */
#define REPLY_SLACK             (UINT32_C(64) << 10)

struct client;

/*
 * A command of ours and the server's answer to it.
 *
 * The owner fills in buf, cap, timeout_ms, is_data and done before
 * client_send(), and keeps it where it is while it is outstanding.
 */
struct request {
    struct request *next;
    bool outstanding;
    uint16_t id;
    uint16_t command;

    void *buf;  /* where the reply's body goes: cap bytes of it */
    size_t cap; /* the rest is dropped */
    uint32_t timeout_ms;
    bool is_data;  /* its deadline moves on while replies come in */
    bool wants_fd; /* take the reply's first descriptor, or else close it */
    /* Called when the reply is there.  May be NULL. */
    void (*done)(struct client *c, struct request *req);

    int64_t started;

    /* The answer.  It counts even if the connection is lost after it. */
    bool answered;
    int error;   /* 0 or a negative errno: the server refused */
    size_t size; /* of the body; more than cap if some was dropped */
    int fd;      /* if wants_fd: the descriptor or -1 */
};

struct settings {
    uint32_t connect_timeout_ms;
    uint32_t command_timeout_ms;
    uint32_t state_timeout_ms;
    uint32_t data_timeout_ms;
    uint32_t read_size;
    uint32_t read_depth;
    uint32_t write_size;
    uint32_t write_depth; /* 0: as the write's size has it */
    bool no_area;
    uint32_t area_piece;
    uint32_t area_depth;
};

/* One MIG_DATA_READ. */
struct read_slot {
    struct request req; /* first: the slot is found by it */
    enum {
        READ_FREE,
        READ_ASKED,
        READ_HERE,
        READ_STALE, /* asked in a session that is over */
    } state;
    uint8_t *buf; /* NULL until it is used first, and with an area */
    struct vfu_mig_area_data answer; /* with an area, */
    uint64_t offset;                 /* and where in it */
    const uint8_t *data;
    uint32_t asked;
    uint32_t size;
    uint32_t taken;
    bool final; /* asked in STOP_COPY: an empty answer is the end */
};

/* The saving session: a queue of slots in the order of the stream. */
struct reader {
    struct read_slot slots[MAX_DEPTH];
    uint8_t queue[MAX_DEPTH]; /* slot numbers; first is the oldest */
    unsigned int count;
    unsigned int window; /* slots to use at present */
    bool dry;            /* PRE_COPY: an answer was empty */
    bool ended;          /* STOP_COPY: an answer was empty */
    struct vfm_error failure;
};

/* One MIG_DATA_WRITE. */
struct write_slot {
    struct request req; /* first, likewise */
    bool stale;         /* of a session that is over */
};

/* The loading session. */
struct writer {
    struct write_slot slots[MAX_DEPTH];
    struct write_slot *room; /* with an area: promised to the next write */
    struct vfm_error failure;
};

/* Memory shared with the server. */
struct data_area {
    uint8_t *base; /* NULL: there is none */
    size_t slot_size;
    unsigned int slots;
};

/*
 * Memory that the device can reach, as one message mapped it: what is larger
 * than MAX_DMA_MAP is mapped in pieces, whose bitmaps fit into a message.
 */
struct dma_mapping {
    uint64_t iova;
    uint64_t size;
    uint64_t whole_iova; /* what the caller mapped, of which this is a piece */
    uint64_t whole_size;
    bool by_message; /* has no descriptor: we perform the accesses */
    bool can_write;
    bool is_gone;      /* unmapped while the log is on, and written nobody knows
                        * where; */
    bool is_told;      /* of that, too */
    uint64_t *written; /* by_message, while the log is on: a bit per page */
};

struct dma_log {
    struct dma_mapping *mappings;
    size_t count;
    size_t size; /* of the array */
    bool is_on;
    uint64_t page_size; /* that the server chose */
};

/* REGION_READs or REGION_WRITEs under way at once. */
#define PIECES_DEPTH 4

/* One of them. */
struct piece {
    struct request req;
    unsigned int access; /* that it is a part of: */
    size_t at;           /* from here */
    uint32_t size;
    uint8_t *buf; /* the answer to a read */
};

/* Accesses to regions, as they are cut. */
struct pieces {
    bool writes;
    struct device_access *accesses;
    unsigned int num_accesses;

    unsigned int next; /* the access to go on with, */
    size_t next_at;    /* and where in it */
    struct piece ring[PIECES_DEPTH];
    unsigned int first; /* the oldest under way, modulo the depth */
    unsigned int count; /* of those under way */
};

/* The call of struct device_ops that is under way. */
struct client_call {
    struct device_call *call; /* NULL: none */
    struct request req;
    uint8_t reply[64];

    struct pieces pieces; /* of accesses to regions */
    unsigned int failed;  /* the number of the one that did */

    /* Reports go mapping by mapping. */
    uint8_t *buf;
    size_t done;
};

struct client {
    struct vfm_device *dev;
    const char *name;
    struct settings settings;

    struct wire main;
    struct wire twin; /* the server's commands, if it wants that */
    int poll_fd;      /* both in one; -1 if there is no twin */

    struct request *requests; /* outstanding */
    uint16_t next_id;
    int64_t progress; /* when data last came in */
    size_t progress_mark;
    bool news;        /* a reply came since the last wait_fds() */
    bool wants_room;  /* a write found none */
    uint64_t replies; /* so far */
    int news_fd;      /* an eventfd, readable if there is news and nobody was
                       * about to look for it */

    /* Why the connection is over; code is 0 while it is not. */
    struct vfm_error lost;
    bool is_open; /* all there is to learn has been learned */

    /* What the server said it can take. */
    uint32_t max_msg_fds;
    uint32_t max_transfer;

    uint32_t offered_transfer; /* what we said we can */
    uint32_t read_size;
    bool whole_messages; /* the server does not mind large writes */
    uint32_t write_size;
    uint32_t write_depth;
    uint64_t offered_area; /* what the server takes of the area we proposed */
    struct data_area area;

    struct vfm_dma_ops dma_ops; /* NULL: refused */
    void *dma_opaque;
    uint8_t *dma_buf[2]; /* for bodies of commands: main's and twin's */
    size_t dma_cap[2];

    int region_fds[UAPI_NUM_REGIONS];

    struct dma_log log;

    struct client_call call;
    struct reader reader;
    struct writer writer;
};

extern const struct device_ops vfio_user_ops;

static inline struct client *device_client(const struct vfm_device *dev)
{
    return dev->backend;
}

/* Checks that @dev is ours.  Returns 0 or -EINVAL. */
int client_of(const struct vfm_device *dev, struct client **cp,
              struct vfm_error *err);

/* Makes a client for the socket @fd, which is the client's from then on if that
 * succeeds.  Returns 0 or a negative errno value. */
int client_new(int fd, const struct settings *settings, struct client **cp);

/* Frees @c and closes its descriptors. */
void client_free(struct client *c);

/* client.c */

/* Ends the connection for the reason given.  Returns @code. */
__attribute__((format(printf, 3, 4))) int client_lose(struct client *c,
                                                      int code, const char *fmt,
                                                      ...);

/* Sets @err to "NAME: cannot WHAT: WHY" and returns @ret; why is the end of
 * the connection if @ret is its code. */
int client_error(const struct client *c, struct vfm_error *err, int ret,
                 const char *what);

/* Sends command @command with the body in @parts.  Returns 0, or the error
 * that ended the connection. */
int client_send(struct client *c, struct request *req, enum vfu_command command,
                const struct iovec *parts, int num_parts, const int *fds,
                unsigned int num_fds);

/* The same for large data: -EAGAIN if there is no room now. */
int client_try_send(struct client *c, struct request *req,
                    enum vfu_command command, const struct iovec *parts,
                    int num_parts);

/* Sends and receives what can be without waiting; checks deadlines. */
void client_pump(struct client *c);

/* Waits until @req is answered; other news is passed on.  Returns 0 or the
 * server's or the connection's error. */
int client_wait(struct client *c, const struct request *req);

/* What came besides the first @replies is for others, who wait for it in their
 * own loop and would not hear of it: what wakes them has been read. */
void client_pass_on_news(struct client *c, uint64_t replies);

/* Performs one command from beginning to end: sends @size bytes at @data,
 * stores up to @cap bytes of the reply at @reply. Returns the size of the
 * reply's body, at most @cap, or an error. */
ssize_t client_command(struct client *c, enum vfu_command command,
                       const void *data, size_t size, void *reply, size_t cap);

/* What to poll for, as device_ops.wait_fds(), without the news. */
int client_poll_fds(struct client *c, struct pollfd *fds, int64_t *deadline);

/* Whether a server's refusal with @ret means that it does not have what it
 * was asked for. */
bool means_absent(int ret);

/* dma.c: a command of the server. */

/* Its header is there.  Says where the body goes, or ends the connection. */
int dma_begin(struct client *c, struct wire *w);

/* It is there as a whole: answers it. */
int dma_serve(struct client *c, struct wire *w);

/* version.c */

/* Agrees on a version, proposing 0.@minor.  *@refused: the server would not
 * hear of it.  Returns 0 or an error. */
int version_negotiate(struct client *c, uint16_t minor, bool *refused,
                      struct vfm_error *err);

/* config.c: learns what configuration space says.  Returns 0, or the error
 * that ended the connection. */
int config_learn(struct client *c);

/* Asks for region @index.  Returns 0 or an error. */
int region_query(struct client *c, uint32_t index,
                 struct vfu_region_info *info);

/* call.c */
int call_start(struct vfm_device *dev, struct device_call *call,
               struct vfm_error *err);
int call_finish(struct vfm_device *dev, struct device_call *call,
                struct vfm_error *err);

/* Whether a change of state is under way. */
bool call_is_set_state(const struct client *c);

/* pieces.c */

/* Begins; @accesses must stay until pieces_end().  Returns 0, or the error that
 * ended the connection. */
int pieces_start(struct client *c, struct pieces *p, bool writes,
                 struct device_access *accesses, unsigned int num_accesses);
/* Takes what was answered and sends on.  Returns 0 when all are made, -EAGAIN,
 * or the error of the first that failed; *@failed is its index. */
int pieces_finish(struct client *c, struct pieces *p, unsigned int *failed);
/* Whose answer comes next, while any is under way. */
const struct request *pieces_waited_for(struct pieces *p);
/* Frees what it holds; nothing may be under way. */
void pieces_end(struct pieces *p);

/* access.c */
/* "read region 7 at 0x40". */
void access_describe(const struct device_access *a, bool write, char *text,
                     size_t size);
int access_region(struct vfm_device *dev, bool write, uint32_t region,
                  uint64_t offset, void *buf, size_t len,
                  struct vfm_error *err);

/* memory.c */
void memory_reach(struct vfm_device *dev, device_reach_fn *each, void *opaque);
void memory_free(struct client *c);

/* log.c: sends a log call, or takes its answer, as call.c does for others. */
int log_send_start(struct client *c);
int log_send_report(struct client *c);
int log_take_start(struct client *c);
/* Returns 0 when all mappings have reported, or -EAGAIN: the next was asked. */
int log_take_report(struct client *c);
/* It is over, by the device's will or by an error. */
void log_stopped(struct client *c);
/* A mapping is new, or about to go. */
int log_add(struct client *c, struct dma_mapping *mapping);
void log_drop(struct client *c, struct dma_mapping *mapping);
/* We write for the device. */
void log_note_write(struct client *c, uint64_t iova, uint64_t len);

/* call.c: sends a feature of @flags with the data in @parts, where the first
 * place is kept free; room for an answer of @answer_size. */
int call_send_feature(struct client *c, uint32_t flags, const void *data,
                      size_t size, size_t answer_size);
int call_send_parts(struct client *c, uint32_t flags, struct iovec *parts,
                    int num_parts, size_t answer_size);

/* area.c */

/* How many bytes we would share; 0: none. */
uint32_t area_wish(const struct client *c);

/* Shares memory with the server.  Returns 0 or an error: without it, all goes
 * on in messages. */
int area_open(struct client *c);
void area_close(struct client *c);

/* Whether no message about slot @slot is under way. */
bool area_slot_is_free(const struct client *c, unsigned int slot);
uint8_t *area_slot(const struct client *c, unsigned int slot);

/* The request about the first @size bytes of a slot. */
struct vfu_mig_area_data area_request(const struct client *c, unsigned int slot,
                                      size_t size);

/* reader.c */
ssize_t reader_peek(struct vfm_device *dev, const void **data,
                    struct vfm_error *err);
void reader_consume(struct vfm_device *dev, size_t len);
void reader_end(struct client *c);
void reader_free(struct client *c);

/* writer.c */
ssize_t writer_write(struct vfm_device *dev, const void *data, size_t len,
                     struct vfm_error *err);
ssize_t writer_room(struct vfm_device *dev, void **room, struct vfm_error *err);
int writer_flush(struct vfm_device *dev, struct vfm_error *err);
void writer_end(struct client *c);

#endif

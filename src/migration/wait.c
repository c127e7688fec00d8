/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one descriptor of a migration: an epoll instance that watches the
 * channel, the devices, a timer for every deadline, an eventfd by which
 * vfm_migration_cancel() gets through, and one that is always readable, for
 * when there is something to do at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "channel/channel.h"
#include "migration/migration.h"
#include "util/clock.h"
#include "util/error.h"

#define CHANNEL_FDS 2
#define MAX_WATCHES                                        \
    (CHANNEL_FDS * (1 + VFM_CHANNELS_MAX) + JOIN_WATCHES + \
     VFM_DEVICES_MAX * DEVICE_MAX_FDS)

_Static_assert(VFM_CHANNELS_MAX <= 32, "struct wishes has a bit for each");

/* What is registered with the epoll instance, beside what always is. */
struct watch {
    struct pollfd fds[MAX_WATCHES];
    int n;
    bool due;     /* due_fd wakes us */
    bool blinded; /* something could not be registered: we look ourselves */
};

static int watch_fd(struct vfm_migration *m, int fd, uint32_t events)
{
    struct epoll_event ev = { .events = events, .data.fd = fd };

    if (epoll_ctl(m->epoll_fd, EPOLL_CTL_MOD, fd, &ev) == 0)
        return 0;
    if (errno == ENOENT && epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0)
        return 0;
    return -errno;
}

int wait_init(struct vfm_migration *m, struct vfm_error *err)
{
    m->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    m->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    m->due_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    m->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    m->watches = calloc(1, sizeof(*m->watches));
    if (m->epoll_fd < 0 || m->cancel_fd < 0 || m->due_fd < 0 ||
        m->timer_fd < 0 || m->watches == NULL)
        return error_set(err, -errno, "migration: cannot wait: %s",
                         strerror(errno));
    if (watch_fd(m, m->cancel_fd, EPOLLIN) < 0 ||
        watch_fd(m, m->timer_fd, EPOLLIN) < 0 ||
        watch_fd(m, m->due_fd, EPOLLIN) < 0)
        return error_set(err, -errno, "migration: cannot wait: %s",
                         strerror(errno));
    m->timer_at = CLOCK_NEVER;
    m->watches->due = true; /* the first dispatch is */
    return 0;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

void wait_close(struct vfm_migration *m)
{
    close_fd(m->epoll_fd);
    close_fd(m->cancel_fd);
    close_fd(m->due_fd);
    close_fd(m->timer_fd);
    free(m->watches);
}

void wait_begin(struct vfm_migration *m)
{
    enum vfm_cause cause = spend(m, VFM_CAUSE_LOOP);
    uint64_t count;

    if (m->timer_at <= clock_now()) {
        if (read(m->timer_fd, &count, sizeof(count)) < 0)
            count = 0; /* not yet, by its own clock: it will wake us again */
        m->timer_at = CLOCK_NEVER;
    }
    /* Whoever is told that it is too late may cancel again. */
    if (atomic_load(&m->cancelled) &&
        read(m->cancel_fd, &count, sizeof(count)) < 0)
        count = 0; /* nobody did */
    m->wishes = (struct wishes){ .wake_at = CLOCK_NEVER };
    spend(m, cause);
}

int wish_data(struct vfm_migration *m, int ret)
{
    m->wishes.data |= ret == -EAGAIN;
    return ret;
}

void wish_wake(struct vfm_migration *m, int64_t at)
{
    m->wishes.wake_at = clock_min(m->wishes.wake_at, at);
}

static int set_timer(struct vfm_migration *m, int64_t at)
{
    const struct itimerspec when = {
        .it_value = { .tv_sec = at / NS_PER_SEC, .tv_nsec = at % NS_PER_SEC },
    };

    if (timerfd_settime(m->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) < 0)
        return -errno;
    m->timer_at = at;
    return 0;
}

/* Registered for good, so that this cannot fail for want of memory.  Should it
 * fail all the same, it is tried again, and the timer wakes us for that. */
static void set_due(struct vfm_migration *m, bool due)
{
    if (due == m->watches->due)
        return;
    if (watch_fd(m, m->due_fd, due ? EPOLLIN : 0) == 0)
        m->watches->due = due;
    else if (due)
        set_timer(m, clock_now());
}

/* A deadline moves with every byte, and most never come: the timer is only
 * moved to the front.  Waking up too early does no harm. */
static void arm_timer(struct vfm_migration *m)
{
    int64_t at = m->wishes.wake_at;

    if (at >= m->timer_at || at <= 0)
        return;
    if (set_timer(m, at) < 0)
        set_due(m, true); /* too early, again and again, but not never */
}

/* Adds @n entries to those in @all, which has @have; one descriptor once. */
static int merge(struct pollfd *all, int have, const struct pollfd *more, int n)
{
    for (int i = 0; i < n; i++) {
        int at = 0;

        while (at < have && all[at].fd != more[i].fd)
            at++;
        if (at == have)
            all[have++] = (struct pollfd){ .fd = more[i].fd };
        all[at].events |= more[i].events;
    }
    return have;
}

static int gather_channel(struct vfm_migration *m, const struct vfm_channel *ch,
                          bool send, bool recv, struct pollfd *all, int n)
{
    struct pollfd fds[CHANNEL_FDS];
    int64_t at;
    int added = vfm_channel_poll_fds(ch, send, recv, fds, &at);

    /* A channel that nobody waits for says that it is ready. */
    if (added > 0 || send || recv)
        wish_wake(m, at);
    return merge(all, n, fds, added);
}

static int gather_lanes(struct vfm_migration *m, struct pollfd *all, int n)
{
    struct pollfd fds[JOIN_WATCHES];
    int64_t at;

    for (unsigned int i = 0; i < m->lanes.count; i++) {
        const uint32_t bit = UINT32_C(1) << i;
        const struct lane *lane = m->lanes.lanes[i];
        bool send = (m->wishes.lanes_send & bit) != 0;
        bool recv = (m->wishes.lanes_recv & bit) != 0;

        if (lane != NULL && (send || recv))
            n = gather_channel(m, lane->channel, send, recv, all, n);
    }
    if (m->wishes.join) {
        int added = target_join_fds(m, fds, &at);

        wish_wake(m, at);
        n = merge(all, n, fds, added);
    }
    return n;
}

/* A device that is gone says so for ever.  Once is news: who needs it finds
 * out, also if that was only found out here.  Others do not wait for it. */
static bool is_old_news(struct member *member)
{
    bool before = member->known_gone;

    if (device_is_busy(member->dev) || device_check(member->dev, NULL) == 0)
        return false;
    member->known_gone = true;
    return before;
}

static int gather_device(struct vfm_migration *m, struct member *member,
                         struct pollfd *all, int n)
{
    struct pollfd fds[DEVICE_MAX_FDS];
    int64_t at = CLOCK_NEVER;
    int added = device_wait_fds(member->dev, fds, &at);

    if (at <= 0 && is_old_news(member))
        return n;
    wish_wake(m, at);
    return merge(all, n, fds, added);
}

/* All that is to be watched now; the deadlines go to the wishes. */
static int gather(struct vfm_migration *m, struct pollfd all[MAX_WATCHES])
{
    int n = 0;

    if (m->over)
        return 0;
    n = gather_channel(m, m->channel, m->wishes.send, m->wishes.recv, all, n);
    n = gather_lanes(m, all, n);
    for (unsigned int i = 0; i < m->num_members; i++)
        n = gather_device(m, m->members[i], all, n);
    return n;
}

/* The entry of @fd among @fds, or NULL. */
static const struct pollfd *find(int fd, const struct pollfd *fds, int n)
{
    for (int i = 0; i < n; i++)
        if (fds[i].fd == fd)
            return &fds[i];
    return NULL;
}

/* Drops those of the @n entries in @fds that are not among the @kept. */
static void forget(struct vfm_migration *m, const struct pollfd *fds, int n,
                   const struct pollfd *kept, int num_kept)
{
    for (int i = 0; i < n; i++)
        if (find(fds[i].fd, kept, num_kept) == NULL)
            epoll_ctl(m->epoll_fd, EPOLL_CTL_DEL, fds[i].fd, NULL);
}

/* Registers what has changed since the last time. */
static int register_changes(struct vfm_migration *m, const struct pollfd *all,
                            int n)
{
    struct watch *w = m->watches;

    forget(m, w->fds, w->n, all, n);
    for (int i = 0; i < n; i++) {
        const struct pollfd *old = find(all[i].fd, w->fds, w->n);
        int ret = 0;

        /* The bits of poll and epoll are the same. */
        if (old == NULL || old->events != all[i].events)
            ret = watch_fd(m, all[i].fd, (uint32_t)all[i].events);
        if (ret < 0) {
            /* What is registered is not to be guessed next time. */
            forget(m, all, n, NULL, 0);
            w->n = 0;
            return ret;
        }
    }
    memcpy(w->fds, all, (size_t)n * sizeof(*all));
    w->n = n;
    return 0;
}

void wait_wake(struct vfm_migration *m)
{
    if (!m->over)
        set_due(m, true);
}

/* A migration that cannot wait for everything goes on without: it is woken all
 * the time, which costs a processor and no device. */
static void note_blindness(struct vfm_migration *m, int ret)
{
    if (ret < 0 && !m->watches->blinded)
        tell_warning(m, "migration: cannot wait, and so polls: %s",
                     strerror(-ret));
    m->watches->blinded = ret < 0;
}

/* How many are, and the last of them. */
static unsigned int count_busy(const struct vfm_migration *m,
                               const struct member **busy)
{
    unsigned int n = 0;

    for (unsigned int i = 0; i < m->num_members; i++)
        if (device_is_busy(m->members[i]->dev)) {
            *busy = m->members[i];
            n++;
        }
    return n;
}

/* Which device we wait for, or NULL if it is several. */
static const struct member *waited_device(const struct vfm_migration *m)
{
    const struct member *busy = NULL;
    unsigned int n = count_busy(m, &busy);

    if (m->num_members == 1)
        return m->members[0];
    if (n > 0)
        return n == 1 ? busy : NULL;
    if (!is_source(m))
        return m->target.loading;
    return m->source.turn < m->num_members ? m->members[m->source.turn] : NULL;
}

/* Whether all that has something to send is held back by its own limit. */
static bool is_limited(const struct vfm_migration *m)
{
    if (m->wishes.send && m->channel->hold != HOLD_LIMIT)
        return false;
    for (unsigned int i = 0; i < m->lanes.count; i++)
        if ((m->wishes.lanes_send & UINT32_C(1) << i) != 0 &&
            m->lanes.lanes[i]->channel->hold != HOLD_LIMIT)
            return false;
    return true;
}

/* Whom we wait for.  Who does not take what we have holds us up, whatever else
 * might come meanwhile; a peer is listened to all the time. */
static enum vfm_cause waited_for(const struct vfm_migration *m)
{
    const struct member *busy;

    if (m->watches->due)
        return VFM_CAUSE_LOOP;
    if (m->wishes.send || m->wishes.lanes_send != 0)
        return is_limited(m) ? VFM_CAUSE_POLICY : VFM_CAUSE_LINK;
    if (m->wishes.data || count_busy(m, &busy) > 0)
        return VFM_CAUSE_DEVICE;
    return m->wishes.recv || m->wishes.lanes_recv != 0 || m->wishes.join
               ? VFM_CAUSE_PEER
               : VFM_CAUSE_POLICY;
}

void wait_update(struct vfm_migration *m)
{
    struct pollfd all[MAX_WATCHES];
    enum vfm_cause cause;
    int n;

    if (!m->over)
        spend(m, VFM_CAUSE_LOOP);
    n = gather(m, all);
    note_blindness(m, register_changes(m, all, n));
    /* What is due at once is no timer's business: one in the past costs as much
     * as an interrupt. */
    set_due(m, !m->over &&
                   (m->watches->blinded || m->wishes.wake_at <= clock_now()));
    if (!m->watches->due)
        arm_timer(m);
    if (m->over)
        return;
    cause = waited_for(m);
    spend_for(m, cause, cause == VFM_CAUSE_DEVICE ? waited_device(m) : NULL);
}

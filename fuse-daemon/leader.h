/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which of the threads read requests. Most requests take less time than to wake a thread, so it is one, the leader, who
 * serves these itself and then reads on. There are more leaders while more requests wait than one has read, and back to
 * one they go when none waits.
 *
 * A leader hands over before a request that takes long. Where one takes longer than it looks (a lock is held, a disk is
 * slow), and no other leader reads, a follower becomes one after LEADER_PATIENCE.
 *
 * Followers sleep. One of them, the watch, looks at the leaders while none of them reads; else it sleeps as well, until a
 * leader has something to do.
 *
 * One lock, a leaf. Invariant under it: if nobody reads, then a leader is wanted, or the watch looks with a limit of time, or
 * nobody follows.
 */
#ifndef DMEMFS_LEADER_H
#define DMEMFS_LEADER_H

#include <stdbool.h>

/* Microseconds after which a request that was taken for a short one is none: many times what one takes. */
#define LEADER_PATIENCE 5000

struct leader;

struct leader *leader_new(void);
void leader_free(struct leader *leader);
/* Waits until the caller is to lead, and so to read; false: the end, there will be nothing to read any more. */
bool leader_follow(struct leader *leader);
/* It has read a request, and serves it. @more: others wait, that somebody else could read. */
void leader_serves(struct leader *leader, bool more);
/* It leads no more. @reads: it has read a request, and did not say that it serves it. */
void leader_hand_over(struct leader *leader, bool reads);
/* Does anybody read? It may be so no longer. */
bool leader_others_read(struct leader *leader);
/* It has served, and reads on. False: it leads no more, as others read and there are no @more requests. */
bool leader_goes_on(struct leader *leader, bool more);
/* Nobody follows any more. */
void leader_end(struct leader *leader);

#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which of the threads reads the next request: the leader, and nobody else. Most requests take less time than to wake a
 * thread, so the leader serves those itself and then reads on. It hands over before one that takes long. Where one takes
 * longer than it looks (a lock is held, a disk is slow), a follower takes the leader's place after LEADER_PATIENCE.
 *
 * Followers sleep. One of them, the watch, looks at the leader while requests come; when it finds the leader waiting for
 * one, it sleeps as well, until the leader has something to do.
 *
 * One lock, a leaf. Invariants under it: one thread leads at most; if none does, then none follows, or one that was woken for
 * it is about to.
 */
#ifndef DMEMFS_LEADER_H
#define DMEMFS_LEADER_H

#include <stdbool.h>
#include <stdint.h>

/* Microseconds after which a request that was taken for a short one is none: many times what one takes. */
#define LEADER_PATIENCE 5000

struct leader;

struct leader *leader_new(void);
void leader_free(struct leader *leader);
/* Waits until the caller leads: the number of its term, for the functions below; 0: the end, there will be no more. */
uint64_t leader_follow(struct leader *leader);
/* It has a request, and serves it. */
void leader_serves(struct leader *leader, uint64_t term);
/* Somebody else is to lead. Nothing happens if somebody does already. */
void leader_hand_over(struct leader *leader, uint64_t term);
/* It has served its request: does it still lead? */
bool leader_goes_on(struct leader *leader, uint64_t term);
/* Nobody follows any more. */
void leader_end(struct leader *leader);

#endif

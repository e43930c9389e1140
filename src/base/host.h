/* host.h - the only door to the operating system or the wasm host: the built-in hooks.
 * host_native.c or host_wasm.c. */
#ifndef WEFT_BASE_HOST_H
#define WEFT_BASE_HOST_H

#include "weft/weft.h"

weft_allocator weft_host_allocator(void);
weft_clock weft_host_clock(void);

/* A pool of `count` threads, the caller's included (count >= 2); `out` uses it. NULL when it cannot
 * be made. */
struct weft_host_pool *weft_host_pool_open(uint32_t count, const weft_allocator *allocator,
                                           weft_threads *out);
void weft_host_pool_close(struct weft_host_pool *pool);

/* In wasm the page starts the threads, as many as it can, when it likes. This is the life of one;
 * it never returns. Before it closes the pool the page ends them. */
void weft_host_pool_work(struct weft_host_pool *pool);
/* One of them has trapped, with a task in hand: makes the caller of that job trap too. */
void weft_host_pool_break(struct weft_host_pool *pool);

/* Bits of what this processor has beyond its baseline, for the choice of kernels: see
 * kernels/kernels.h WEFT_CPU_*. */
uint32_t weft_host_cpu_features(void);

#endif

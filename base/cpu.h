/* Pinning and topology; the calling thread only. */
#pragma once

#include "base/base.h"

#include <pthread.h>
#include <sched.h>

#define SALVO_CPU_MAX 16384 /* twice what Linux can be built for; numbers are below it */

/* CPUs this process may run on, in order. Returns how many there are, also when that is more than
 * cpus_max; fills at most cpus_max. */
unsigned salvo_cpu_allowed(int *ret_cpus, unsigned cpus_max);

bool salvo_cpu_is_allowed(int cpu);

/* The CPUs of a set of `cpus_size` bytes, as taskset(1) takes them: "0-3,8". What finds no room is
 * "..." at the end; `size` is at least 8. */
void salvo_cpu_print(const cpu_set_t *cpus, size_t cpus_size, char *ret_text, size_t size);

/* Those this process may run on. */
void salvo_cpu_print_allowed(char *ret_text, size_t size);

/* Pins the calling thread to one CPU. 0 or a negative errno (-EINVAL: no such CPU for us). */
int salvo_cpu_pin(int cpu);

/* Names the calling thread (15 characters count). */
void salvo_cpu_name_thread(const char *name);

/* CPU seconds used so far: by this process (user and system), and by the calling thread. */
double salvo_cpu_process_seconds(void);
double salvo_cpu_thread_seconds(void);

/* Seconds that a hypervisor has kept the machine's CPUs from it since boot, all CPUs together:
 * `steal` of /proc/stat, in steps of 10 ms. 0 where it is not told. */
double salvo_cpu_stolen_seconds(void);

/* One line on the machine: CPU model, cores allowed, kernel. */
void salvo_cpu_describe(char *ret_text, size_t size);

/* Threads are started here, so that one file knows pthreads. `name` is at most 15 characters. The
 * thread starts with every signal blocked: signals belong to the host program. */
int salvo_thread_start(pthread_t *ret_thread, const char *name, void *(*run)(void *), void *arg);
void salvo_thread_join(pthread_t thread);
/* Runs `run` in the first thread that comes; others that come meanwhile wait for it. */
void salvo_thread_once(pthread_once_t *once, void (*run)(void));

/* A small number for the calling thread, never 0, never reused in this process: ownership checks
 * compare it. */
uint32_t salvo_thread_id(void);

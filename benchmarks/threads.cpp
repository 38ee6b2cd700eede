// The entries of gcc's OpenMP library that kernels call, on std::thread: for ThreadSanitizer, which sees nothing of the
// library itself. A loop is dealt out by a counter, and its end is a join. No part of any program.

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

namespace {
struct Loop {
    std::mutex opening;
    bool open = false;
    std::atomic<long> next{0};
    long end = 0, stride = 1;
};
thread_local Loop* current = nullptr;

bool deal(long* first, long* last) {
    const long at = current->next.fetch_add(current->stride);
    if (at >= current->end) return false;
    *first = at;
    *last = at + current->stride < current->end ? at + current->stride : current->end;
    return true;
}

void open(long start, long end, long step, long chunk) {
    const std::lock_guard<std::mutex> lock(current->opening);
    if (current->open) return;
    current->open = true;
    current->next = start;
    current->end = end;
    current->stride = step * chunk;
}

void run(void (*body)(void*), void* data, unsigned threads, Loop& loop) {
    Loop* const around = current;
    const auto work = [&] {
        current = &loop;
        body(data);
    };
    std::vector<std::thread> others;
    for (unsigned n = 1; n < threads; ++n) others.emplace_back(work);
    work();
    for (auto& other : others) other.join();
    current = around;
}

void run_loop(void (*body)(void*), void* data, unsigned threads, long start, long end, long step, long chunk) {
    Loop loop;
    loop.open = true;
    loop.next = start;
    loop.end = end;
    loop.stride = step * chunk;
    run(body, data, threads, loop);
}
}  // namespace

extern "C" {
void GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned) {
    Loop loop;
    run(body, data, threads, loop);
}
void GOMP_parallel_loop_dynamic(
    void (*body)(void*), void* data, unsigned threads, long start, long end, long step, long chunk, unsigned) {
    run_loop(body, data, threads, start, end, step, chunk);
}
void GOMP_parallel_loop_nonmonotonic_dynamic(
    void (*body)(void*), void* data, unsigned threads, long start, long end, long step, long chunk, unsigned) {
    run_loop(body, data, threads, start, end, step, chunk);
}
bool GOMP_loop_dynamic_start(long start, long end, long step, long chunk, long* first, long* last) {
    open(start, end, step, chunk);
    return deal(first, last);
}
bool GOMP_loop_nonmonotonic_dynamic_start(long start, long end, long step, long chunk, long* first, long* last) {
    open(start, end, step, chunk);
    return deal(first, last);
}
bool GOMP_loop_dynamic_next(long* first, long* last) { return deal(first, last); }
bool GOMP_loop_nonmonotonic_dynamic_next(long* first, long* last) { return deal(first, last); }
void GOMP_loop_end_nowait() {}
}

// The entries of gcc's OpenMP library that kernels call, on std::thread: for ThreadSanitizer, which sees nothing of the
// library itself. A loop is dealt out by a counter, and its end is a join. No part of any program.

#include <atomic>
#include <thread>
#include <vector>

namespace {
struct Loop {
    std::atomic<long> next;
    long end, step, chunk;
};
thread_local Loop* current = nullptr;

bool deal(long* first, long* last) {
    const long at = current->next.fetch_add(current->step * current->chunk);
    if (at >= current->end) return false;
    *first = at;
    *last = at + current->step * current->chunk < current->end ? at + current->step * current->chunk : current->end;
    return true;
}

void run(void (*body)(void*), void* data, unsigned threads, long start, long end, long step, long chunk) {
    Loop loop{{start}, end, step, chunk};
    const auto work = [&] {
        current = &loop;
        body(data);
    };
    std::vector<std::thread> others;
    for (unsigned n = 1; n < threads; ++n) others.emplace_back(work);
    work();
    for (auto& other : others) other.join();
}
}  // namespace

extern "C" {
void GOMP_parallel_loop_dynamic(
    void (*body)(void*), void* data, unsigned threads, long start, long end, long step, long chunk, unsigned) {
    run(body, data, threads, start, end, step, chunk);
}
void GOMP_parallel_loop_nonmonotonic_dynamic(
    void (*body)(void*), void* data, unsigned threads, long start, long end, long step, long chunk, unsigned) {
    run(body, data, threads, start, end, step, chunk);
}
bool GOMP_loop_dynamic_next(long* first, long* last) { return deal(first, last); }
bool GOMP_loop_nonmonotonic_dynamic_next(long* first, long* last) { return deal(first, last); }
void GOMP_loop_end_nowait() {}
}

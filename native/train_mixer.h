// The first branch of a residual block with mingru in learning: norm, product, convolution, product, scan with its gate, product, and all
// of their gradients, with products of bfloat16 and sums of float32. A stretch of rows goes through all of it before the next, so that most
// of what stands between is still near.
//
// u = norm(x + dropped(branch)); v, g = in u; c = conv(v); y = scan(ih c) silu(g); out = out_weight y. It knows nothing of threads, nor of
// what comes after it.
#pragma once
#include "train_branch.h"

namespace escriba {

// Arrays lie together. `width` is a multiple of 64. Fields are 8 bytes wide, so that other languages can write them.
struct Mixer {
    std::int64_t rows, times, width, taps;
    std::uint64_t seed;          // of what is dropped of the branch
    double share;
    const float* x;              // (rows, times, width)
    const Half* branch;          // the same, or null: sum is x, and is not written
    const float* norm;           // (width)
    const float* in;             // (2 width, width)
    const float* conv;           // (taps, width)
    const float* conv_bias;      // (width)
    const float* tail;           // (rows, taps - 1, width): v before the first time
    const float* ih;             // (2 width, width)
    const float* bias;           // (2 width)
    const float* start;          // (rows, width): h before the first time
    const float* out_weight;     // (width, width)
    float* sum;                  // (rows, times, width); backward reads it and the next five
    Half* vg;                    // (rows, times, 2 width)
    Half* c;                     // (rows, times, width)
    Half* p;                     // (rows, times, 2 width)
    Half* y;                     // (rows, times, width)
    float* marks;                // (rows, parts of TIMES_A_MARK times, width)
    float* last;                 // (rows, width)
    float* tail_after;           // (rows, taps - 1, width): the v that are the tail of what comes next
    Half* out;                   // (rows, times, width), or null where the second branch comes after it
    const float* d_sum;          // or null: zeros; so the next two
    const float* d_last;
    const float* d_tail_after;
    const Half* d_out;           // or null likewise
    float* d_x;
    Half* d_branch;              // or null
    float* d_norm;               // (rows times parts of ROWS_A_TASK times at most, width); so two more: in the end the first is the whole
    float* d_in;
    float* d_conv;               // (rows, taps + 1, width): of the weight, then of the bias
    float* d_tail;
    float* d_ih;
    float* d_bias;               // (rows, 2 width)
    float* d_start;
    float* d_out_weight;
};

class MixerWork : public Branch {
  public:
    // What one thread needs for itself.
    struct Bench {
        Half *u, *d_y, *d_p, *d_c, *d_vg;
        float *sums, *inverse;
        Bench(Room& room, const Mixer& a, std::int64_t stretch, bool backward) {
            const std::int64_t all = backward ? stretch * a.width : 0;
            u = room.take<Half>(CHUNK * a.width);
            d_y = room.take<Half>(all);
            d_p = room.take<Half>(2 * all);
            d_c = room.take<Half>(all);
            d_vg = room.take<Half>(2 * all);
            sums = room.take<float>(CHUNK * 2 * a.width);
            inverse = room.take<float>(CHUNK);
        }
    };

    MixerWork(const Kernels& kernels, const Mixer& a, bool backward, Room& room)
        : Branch(kernels, a.rows, a.times), a_(a), width_(int(a.width)), backward_(backward) {
        in_ = room.take<Half>(2 * a.width * a.width);
        ih_ = room.take<Half>(2 * a.width * a.width);
        out_ = room.take<Half>(a.width * a.width);
        if (!backward) return;
        u_ = places(room, a.width), d_vg_ = places(room, 2 * a.width), c_ = places(room, a.width);
        d_p_ = places(room, 2 * a.width), y_ = places(room, a.width), d_out_ = places(room, a.width);
    }
    Bench bench(Room& room) const { return Bench(room, a_, stretch_, backward_); }

    void pack_weights(const Team& team) const {
        const int one = width_, two = 2 * width_;
        pack(backward_ ? Matrix{a_.in, one, true, one, two} : Matrix{a_.in, one, false, two, one}, in_, team);
        pack(backward_ ? Matrix{a_.ih, one, true, one, two} : Matrix{a_.ih, one, false, two, one}, ih_, team);
        pack(Matrix{a_.out_weight, one, backward_, one, one}, out_, team);
    }

    // A stretch; `out` is that of its first place, as so is `d_out`.
    void forward(const Bench& bench, int stretch, Half* out) const {
        const int blocks = width_ / LANES;
        each_chunk(stretch, [&](int place, int n) {
            AddNorm norm = norm_of(a_, bench, stretch, place, n);
            norm.x = a_.x + at(stretch, place, width_), norm.branch = a_.branch ? a_.branch + at(stretch, place, width_) : nullptr;
            block.add_norm(norm, 0, 1);
            multiply(in_, width_, 2 * blocks, bench.u, n, bench.sums, a_.vg + at(stretch, place, 2 * width_));
        });
        const CausalConv conv = conv_of(stretch);
        block.causal_conv(conv, 0, conv.tasks());
        for (int row = stretch * rows_a_stretch_, end = row + rows_of(stretch); row < end; ++row) leave_tail(row);
        each_chunk(stretch, [&](int place, int n) {
            multiply(ih_, width_, 2 * blocks, a_.c + at(stretch, place, width_), n, bench.sums, a_.p + at(stretch, place, 2 * width_));
        });
        const GatedScan scan = scan_of(stretch);
        block.gated_scan(scan, 0, scan.tasks());
        each_chunk(stretch, [&](int place, int n) {
            multiply(out_, width_, blocks, a_.y + at(stretch, place, width_), n, bench.sums, out + at(0, place, width_));
        });
    }

    void backward(const Bench& bench, int stretch, const Half* d_out) const {
        const int blocks = width_ / LANES, before = int(a_.taps) - 1;
        const int first = stretch * rows_a_stretch_;
        const std::ptrdiff_t of_row = std::ptrdiff_t(first) * width_;
        each_chunk(stretch, [&](int place, int n) {
            multiply(out_, width_, blocks, d_out + at(0, place, width_), n, bench.sums, bench.d_y + at(0, place, width_));
        });
        GatedScan scan = scan_of(stretch);
        scan.d_y = bench.d_y, scan.d_last = a_.d_last ? a_.d_last + of_row : nullptr, scan.d_p = bench.d_p;
        scan.d_start = a_.d_start + of_row, scan.d_g = bench.d_vg + width_, scan.d_g_row = 2 * times_ * width_, scan.d_g_time = 2 * width_;
        scan.d_parts = a_.d_bias + 2 * of_row;
        block.gated_scan_back(scan, 0, scan.tasks());
        each_chunk(stretch, [&](int place, int n) {
            multiply(ih_, 2 * width_, blocks, bench.d_p + at(0, place, 2 * width_), n, bench.sums, bench.d_c + at(0, place, width_));
        });
        CausalConv conv = conv_of(stretch);
        conv.d_c = bench.d_c, conv.d_v = bench.d_vg, conv.d_v_row = 2 * times_ * width_, conv.d_v_time = 2 * width_;
        conv.d_tail = a_.d_tail + of_row * before, conv.d_parts = a_.d_conv + of_row * (a_.taps + 1);
        block.causal_conv_back(conv, 0, conv.tasks());
        for (int at = 0; a_.d_tail_after && at < rows_of(stretch); ++at) {
            const std::ptrdiff_t tail = std::ptrdiff_t(first + at) * before * width_;
            add_tail(bench, at * times_, a_.d_tail_after + tail, a_.d_tail + tail);
        }
        each_chunk(stretch, [&](int place, int n) {
            AddNorm norm = norm_of(a_, bench, stretch, place, n);
            norm.x = norm.sum;
            block.add_norm(norm, 0, 1);
            keep_chunk(bench, stretch, place, d_out + at(0, place, width_), chunk_of(stretch, place), n);
            multiply(in_, 2 * width_, blocks, bench.d_vg + at(0, place, 2 * width_), n, bench.sums, bench.u);
            norm.d_normed = bench.u, norm.d_sum = a_.d_sum ? a_.d_sum + at(stretch, place, width_) : nullptr;
            norm.d_x = a_.d_x + at(stretch, place, width_);
            norm.d_branch = a_.d_branch ? a_.d_branch + at(stretch, place, width_) : nullptr;
            norm.d_parts = a_.d_norm + std::ptrdiff_t(chunk_of(stretch, place)) * width_;
            block.add_norm_back(norm, 0, 1);
        });
    }

    void zeros_beyond(const Bench& bench) const {
        for (int chunk = chunks_; chunk < all_chunks(); ++chunk) keep_chunk(bench, 0, 0, a_.y, chunk, 0);
    }
    int weight_tasks() const { return tasks_of(matrices(), vectors()); }
    void weight_gradients(int task) const { do_task(matrices(), vectors(), task); }

  private:
    std::array<Parts, 3> vectors() const {
        return {{{a_.d_norm, chunks_, width_}, {a_.d_conv, rows_, (a_.taps + 1) * width_}, {a_.d_bias, rows_, 2 * width_}}};
    }
    std::array<WeightGradient, 3> matrices() const {
        const int one = width_, two = 2 * width_;
        return {{{d_vg_, two, u_, one, a_.d_in}, {d_p_, two, c_, one, a_.d_ih}, {d_out_, one, y_, one, a_.d_out_weight}}};
    }
    template <class Work>
    void each_chunk(int stretch, Work&& work) const {
        for (int place = 0; place < places_of(stretch); place += CHUNK) work(place, places_from(stretch, place));
    }
    int rows_of(int stretch) const { return places_of(stretch) / times_; }
    CausalConv conv_of(int stretch) const {
        const int row = stretch * rows_a_stretch_;
        CausalConv record{};
        record.bf16 = 1, record.rows = rows_of(stretch), record.times = times_, record.width = width_, record.taps = a_.taps;
        record.v = a_.vg + at(stretch, 0, 2 * width_), record.v_row = 2 * times_ * width_, record.v_time = 2 * width_;
        record.tail = a_.tail + std::ptrdiff_t(row) * (a_.taps - 1) * width_, record.weight = a_.conv, record.bias = a_.conv_bias;
        record.c = a_.c + at(stretch, 0, width_);
        return record;
    }
    GatedScan scan_of(int stretch) const {
        const int row = stretch * rows_a_stretch_;
        GatedScan record{};
        record.bf16 = 1, record.rows = rows_of(stretch), record.times = times_, record.width = width_;
        record.p = a_.p + at(stretch, 0, 2 * width_), record.p_row = 2 * times_ * width_, record.p_time = 2 * width_, record.bias = a_.bias;
        record.g = a_.vg + at(stretch, 0, 2 * width_) + width_, record.g_row = 2 * times_ * width_, record.g_time = 2 * width_;
        record.start = a_.start + std::ptrdiff_t(row) * width_, record.y = a_.y + at(stretch, 0, width_);
        record.last = a_.last + std::ptrdiff_t(row) * width_;
        record.marks = a_.marks + row * parts_of(times_, TIMES_A_MARK) * width_;
        return record;
    }

    // The last v, or, where there are fewer, the last of the tail that was given and then v.
    void leave_tail(int row) const {
        const int before = int(a_.taps) - 1;
        const std::ptrdiff_t first = std::ptrdiff_t(row) * before * width_;
        for (int j = 0; j < before; ++j) {
            const int time = times_ - before + j;
            float* to = a_.tail_after + first + std::ptrdiff_t(j) * width_;
            if (time >= 0) kernels.from_bf16(a_.vg + (std::ptrdiff_t(row) * times_ + time) * 2 * width_, to, width_);
            else std::copy_n(a_.tail + first + std::ptrdiff_t(before + time) * width_, width_, to);
        }
    }

    // What the tail that a row leaves behind, which begins at a place of its stretch, asks for: of its last v, or, where it is shorter, of
    // the tail that it was given.
    void add_tail(const Bench& bench, int begin, const float* d_after, float* d_tail) const {
        const int before = int(a_.taps) - 1;
        for (int j = 0; j < before; ++j) {
            const int time = times_ - before + j;
            const float* from = d_after + std::ptrdiff_t(j) * width_;
            if (time < 0) {
                float* to = d_tail + std::ptrdiff_t(before + time) * width_;
                for (int i = 0; i < width_; ++i) to[i] += from[i];
                continue;
            }
            Half* to = bench.d_vg + at(0, begin + time, 2 * width_);
            kernels.from_bf16(to, bench.sums, width_);
            for (int i = 0; i < width_; ++i) bench.sums[i] += from[i];
            kernels.to_bf16(bench.sums, to, width_);
        }
    }

    void keep_chunk(const Bench& bench, int stretch, int place, const Half* d_out, int chunk, int n) const {
        keep(u_, bench.u, width_, chunk, n);
        keep(d_vg_, bench.d_vg + at(0, place, 2 * width_), 2 * width_, chunk, n);
        keep(c_, a_.c + at(stretch, place, width_), width_, chunk, n);
        keep(d_p_, bench.d_p + at(0, place, 2 * width_), 2 * width_, chunk, n);
        keep(y_, a_.y + at(stretch, place, width_), width_, chunk, n);
        keep(d_out_, d_out, width_, chunk, n);
    }

    const Mixer& a_;
    const int width_;
    const bool backward_;
    Half *in_, *ih_, *out_;
    Half *u_ = nullptr, *d_vg_ = nullptr, *c_ = nullptr, *d_p_ = nullptr, *y_ = nullptr, *d_out_ = nullptr;  // of all places, packed
};

}  // namespace escriba

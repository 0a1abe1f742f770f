// The second branch of a residual block in learning: norm, product, gate, product, and all of their gradients, with products of bfloat16
// and sums of float32. What stands between two products stays near the processor and is not written to memory.
//
// u = norm(x + dropped(branch)); m, q = up u; out = down (m silu(q)). It knows nothing of threads, nor of what stands before it.
#pragma once
#include "train_branch.h"

namespace escriba {

// Arrays lie together. `width` and `inner` are multiples of 64. Fields are 8 bytes wide, so that other languages can write them.
struct Mlp {
    std::int64_t rows, times, width, inner;
    std::uint64_t seed;  // of what is dropped of the branch
    double share;
    const float* x;      // (rows, times, width); so all but weights; null where the first branch stands before it, as so are all here
    const Half* branch;  // or null
    const float* norm;   // (width)
    const float* up;     // (2 inner, width)
    const float* down;   // (width, inner)
    float* sum;          // x + dropped(branch); backward reads it
    Half* m;             // (rows, times, 2 inner): m, q; backward reads it
    Half* out;
    const float* d_sum;  // or null: zeros
    const Half* d_out;
    float* d_x;
    Half* d_branch;      // or null
    float* d_norm;       // (rows times parts of ROWS_A_TASK times at most, width): the first is the whole in the end
    float* d_up;
    float* d_down;
};

class MlpWork : public Branch {
  public:
    // What one thread needs for itself.
    struct Bench {
        Half *u, *gated, *d_gated, *d_m;
        float *sums, *inverse;
        Bench(Room& room, const Mlp& a, bool backward) {
            u = room.take<Half>(CHUNK * a.width);
            gated = room.take<Half>(CHUNK * a.inner);
            d_gated = room.take<Half>(backward ? CHUNK * a.inner : 0);
            d_m = room.take<Half>(backward ? CHUNK * 2 * a.inner : 0);
            sums = room.take<float>(CHUNK * std::max(2 * a.inner, a.width));
            inverse = room.take<float>(CHUNK);
        }
    };

    MlpWork(const Kernels& kernels, const Mlp& a, bool backward, Room& room)
        : Branch(kernels, a.rows, a.times), a_(a), width_(int(a.width)), inner_(int(a.inner)), backward_(backward) {
        up_ = room.take<Half>(2 * a.inner * a.width);
        down_ = room.take<Half>(a.inner * a.width);
        if (!backward) return;
        u_ = places(room, a.width), gated_ = places(room, a.inner);
        d_m_ = places(room, 2 * a.inner), d_out_ = places(room, a.width);
    }
    Bench bench(Room& room) const { return Bench(room, a_, backward_); }

    void pack_weights(const Team& team) const {
        const bool turned = backward_;
        if (turned) pack(Matrix{a_.up, width_, true, width_, 2 * inner_}, up_, team);
        else pack(Matrix{a_.up, width_, false, 2 * inner_, width_}, up_, team);
        if (turned) pack(Matrix{a_.down, inner_, true, inner_, width_}, down_, team);
        else pack(Matrix{a_.down, inner_, false, width_, inner_}, down_, team);
    }

    // A chunk of a stretch; x and branch are those of its first place.
    void forward(const Bench& bench, int stretch, int first, const float* x, const Half* branch) const {
        const int n = places_from(stretch, first);
        AddNorm norm = norm_of(a_, bench, stretch, first, n);
        norm.x = x, norm.branch = branch;
        block.add_norm(norm, 0, 1);
        multiply(up_, width_, 2 * inner_ / LANES, bench.u, n, bench.sums, a_.m + at(stretch, first, 2 * inner_));
        const Gate gate = gate_of(bench, stretch, first, n);
        block.gate(gate, 0, 1);
        multiply(down_, inner_, width_ / LANES, bench.gated, n, bench.sums, a_.out + at(stretch, first, width_));
    }

    // Its gradients; those of x and branch go to those of its first place.
    void backward(const Bench& bench, int stretch, int first, float* d_x, Half* d_branch) const {
        const int n = places_from(stretch, first), chunk = chunk_of(stretch, first);
        const std::ptrdiff_t place = at(stretch, first, width_);
        AddNorm norm = norm_of(a_, bench, stretch, first, n);
        norm.x = norm.sum;
        block.add_norm(norm, 0, 1);
        Gate gate = gate_of(bench, stretch, first, n);
        multiply(down_, width_, inner_ / LANES, a_.d_out + place, n, bench.sums, bench.d_gated);
        gate.d_y = bench.d_gated, gate.d_a = bench.d_m, gate.d_g = bench.d_m + inner_, gate.d_a_row = gate.d_g_row = 2 * inner_;
        block.gate_back(gate, 0, 1);
        keep_chunk(bench, a_.d_out + place, chunk, n);
        multiply(up_, 2 * inner_, width_ / LANES, bench.d_m, n, bench.sums, bench.u);
        norm.d_normed = bench.u, norm.d_sum = a_.d_sum ? a_.d_sum + place : nullptr;
        norm.d_x = d_x, norm.d_branch = d_branch, norm.d_parts = a_.d_norm + std::ptrdiff_t(chunk) * width_;
        block.add_norm_back(norm, 0, 1);
    }
    void zeros_beyond(const Bench& bench) const {
        for (int chunk = chunks_; chunk < all_chunks(); ++chunk) keep_chunk(bench, a_.d_out, chunk, 0);
    }
    int weight_tasks() const { return tasks_of(matrices(), vectors()); }
    void weight_gradients(int task) const { do_task(matrices(), vectors(), task); }

  private:
    std::array<WeightGradient, 2> matrices() const {
        return {{{d_m_, 2 * inner_, u_, width_, a_.d_up}, {d_out_, width_, gated_, inner_, a_.d_down}}};
    }
    std::array<Parts, 1> vectors() const { return {{{a_.d_norm, chunks_, width_}}}; }
    Gate gate_of(const Bench& bench, int stretch, int first, int n) const {
        Gate record{};
        record.bf16 = 1, record.rows = n, record.width = inner_;
        record.a = a_.m + at(stretch, first, 2 * inner_), record.g = static_cast<const Half*>(record.a) + inner_;
        record.a_row = record.g_row = 2 * inner_, record.y = bench.gated;
        return record;
    }
    void keep_chunk(const Bench& bench, const Half* d_out, int chunk, int n) const {
        keep(u_, bench.u, width_, chunk, n);
        keep(gated_, bench.gated, inner_, chunk, n);
        keep(d_m_, bench.d_m, 2 * inner_, chunk, n);
        keep(d_out_, d_out, width_, chunk, n);
    }

    const Mlp& a_;
    const int width_, inner_;
    const bool backward_;
    Half *up_, *down_;
    Half *u_ = nullptr, *gated_ = nullptr, *d_m_ = nullptr, *d_out_ = nullptr;  // of all places, packed
};

}  // namespace escriba

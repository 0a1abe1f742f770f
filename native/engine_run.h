// How a model is run: some rows through some steps, by a team of threads that all do the same and wait for one another where they must.
//
// A thread makes the products of its own blocks of 16 units and then their elementwise work, which needs no others'; it waits before it
// reads what all units gave. It knows nothing of symbols to come: what is done with the logits is engine_calls.cpp's.
//
// Shapes: a place is one row at one step; places lie in the order of time, row beside row. B rows, T steps, N = B T places.
#pragma once
#include <cstdint>
#include <vector>

#include "engine.h"
#include "sampling.h"
#include "threads.h"

namespace escriba { namespace engine {

// What a product reads: rows of numbers in the precision of the weights.
struct Input {
    const void* x;
    std::ptrdiff_t stride;
    const float* scale;  // int8
};

// Memory for products' inputs in another precision, or after a norm.
struct Converted {
    Buffer<float> numbers;  // as bfloat16 or bytes where the precision is such
    Buffer<float> scale;
    Converted() = default;
    Converted(std::size_t rows, std::size_t width) : numbers(rows * width), scale(rows) {}
};

constexpr int TILE_NUMBERS = 8192;  // of products that wait for their elementwise work: they stay in the nearest cache
constexpr int FEW = 4;  // rows that every thread converts for itself rather than wait for the others

// The memory of one call, and the states of its rows; shared by a team but for `own`.
struct Run {
    struct Layer {
        Buffer<float> h[2];  // what the cell gave, (N, width), by turns; the last step stands at the end
        Buffer<float> cell;  // lstm: c; mingru: h; (B, units)
        Buffer<float> seen;  // ngram: what entered, (window - 1 + T, B, width)
        Buffer<float> pairs;  // residual: values and gates, (conv - 1 + T, B, 2 units)
    };
    struct Own {
        Buffer<float> tile;  // products of a few blocks
        Converted converted;  // of FEW rows
        Buffer<float> row;  // one row after a norm
        Buffer<float> logits;  // of FEW rows
        Buffer<std::int64_t> ids;  // of the places of a chunk
        Scratch draws;
    };

    Run(const Network& net, int rows, int steps, int team);
    // The arrays of the state of rows `first` to first + rows - 1, layer by layer, each (all rows, size).
    void load(const float* const* state, std::int64_t first, int rows);
    void store(float* const* state, std::int64_t first) const;

    const Network& net;
    const int most_rows, steps;  // room
    int rows = 0;
    int turn = 0;  // of h: which was written last
    std::vector<Layer> layers;
    Buffer<float> pre;  // (N, gates units): the product of what entered, where the cell goes step by step
    Buffer<float> stream[2];  // residual, (N, width), by turns
    Buffer<float> symbols;  // what the symbols bring, (N, entering_width)
    Buffer<float> x, y;  // residual, (N, width)
    Buffer<float> inner;  // (N, inner_width)
    Buffer<float> keep, left;  // gru that resets before: z; r h
    Converted entered, state;  // of many rows
    Buffer<float> logits;  // (N, V padded)
    std::vector<Own> own;

    int logits_width() const { return net.output.rows; }
    // where what the cell gave at the last step stands in h
    std::size_t last() const { return (std::size_t(steps) - 1) * std::size_t(rows) * std::size_t(net.width); }

  private:
    template <class Copy>
    void each_piece(Copy copy) const;
};

// Rows of logits that a thread may read at once, and which of them it is to deal with.
struct Logits {
    const float* rows;  // of the places `first` to last - 1
    int first, last;
    bool mine;  // what is found is this thread's to tell: several threads may have the same
};

// One thread's part in a chunk of T steps.
class Pass {
  public:
    Pass(Run& run, const Team& team, int turn, int steps, const std::int64_t* ids);
    void run();  // all layers; ids of N places in the order of time
    Logits output();  // the logits of all places; all threads call it
    void settle() { team_.wait(); }  // instead of output(): the states are whole

  private:
    void plain();
    void residual();
    void block(int at);
    void cell(int at, const float* x, bool ready);
    void ngram(int at, const float* x);
    void step_by_step(int at);
    void scan(int at, const Input& in, bool table);
    void enter();
    Input input(const float* x, std::ptrdiff_t stride, int width, int count, int rows, Precision precision, const float* norm,
                Converted& shared);
    void product(const Packed& weights, const Input& in, int rows, int first, int last, float* y, std::ptrdiff_t y_stride,
                 const float* start, std::ptrdiff_t start_stride) const;
    int tile(int blocks, int rows, int gates) const;

    Run& run_;
    const Network& net_;
    const EngineKernels& cells_;
    const Team& team_;
    Run::Own& own_;
    const int turn_, T_, B_, N_;
    const std::int64_t* ids_;
    const int u0_, u1_;  // own blocks of units
    const int width_, units_, gates_;
    const float* given_ = nullptr;  // what the last layer gave
    std::ptrdiff_t given_stride_ = 0;
};

}}  // namespace escriba::engine

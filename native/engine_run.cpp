// Running a model: see engine_run.h.
#include "engine_run.h"

#include <algorithm>
#include <cstring>

namespace escriba { namespace engine {

namespace {
constexpr std::int64_t SMALL_OUTPUT = 1 << 18;  // weights of an output that every thread makes for itself rather than wait for the others
}  // namespace

Pass::Pass(Run& run, const Team& team, int turn, int steps, const std::int64_t* ids)
    : run_(run),
      net_(run.net),
      cells_(*run.net.kernels->engine),
      team_(team),
      own_(run.own[team.number]),
      turn_(turn),
      T_(steps),
      B_(run.rows),
      N_(steps * run.rows),
      ids_(ids),
      u0_(team.from(run.net.units / LANES)),
      u1_(team.to(run.net.units / LANES)),
      width_(run.net.width),
      units_(run.net.units),
      gates_(run.net.gates) {}

// What a product reads of rows of x. Where it must be made, every thread makes a few rows for itself, or each its part of many.
Input Pass::input(const float* x, std::ptrdiff_t stride, int width, int count, int rows, Precision precision, const float* norm,
                  Converted& shared) {
    if (precision == Precision::F32 && !norm) return Input{x, stride, nullptr};
    const bool alone = team_.size > 1 && rows <= FEW;
    Converted& made = alone ? own_.converted : shared;
    const Kernels& kernels = *net_.kernels;
    auto* narrow = reinterpret_cast<std::uint16_t*>(made.numbers.get());
    auto* bytes = reinterpret_cast<std::uint8_t*>(made.numbers.get());
    for (int r = alone ? 0 : team_.from(rows), last = alone ? rows : team_.to(rows); r < last; ++r) {
        const float* from = x + r * stride;
        const std::ptrdiff_t at = std::ptrdiff_t(r) * width;
        if (norm) {
            float* normed = precision == Precision::F32 ? made.numbers.get() + at : own_.row.get();
            cells_.rms_norm(from, norm, normed, width, count);
            from = normed;
        }
        if (precision == Precision::BF16)
            kernels.to_bf16(from, narrow + at, width);
        else if (precision == Precision::INT8)
            made.scale[r] = kernels.quantize(from, bytes + at, width);
    }
    if (!alone) team_.wait();
    return Input{made.numbers.get(), width, made.scale.get()};
}

// The product of the blocks first to last - 1, of which y and start begin with the first.
void Pass::product(const Packed& weights, const Input& in, int rows, int first, int last, float* y, std::ptrdiff_t y_stride,
                   const float* start, std::ptrdiff_t start_stride) const {
    if (first >= last || rows == 0) return;
    const Kernels& kernels = *net_.kernels;
    const Product p{0, last - first, weights.columns, rows, in.x, in.stride, y, y_stride, start, start_stride, in.scale};
    const std::size_t at = std::size_t(first) * LANES, numbers = at * weights.columns;
    if (weights.precision == Precision::F32)
        kernels.product_f32(weights.f32.get() + numbers, p);
    else if (weights.precision == Precision::BF16)
        kernels.product_bf16(weights.bf16.get() + numbers, p);
    else
        kernels.product_int8(weights.int8.get() + numbers, weights.scales.get() + at, weights.sums.get() + at, p);
}

// How many blocks of units are made at once.
int Pass::tile(int blocks, int rows, int gates) const { return std::max(1, std::min(blocks, TILE_NUMBERS / (rows * gates * LANES))); }

void Pass::run() {
    if (net_.shape.residual)
        residual();
    else
        plain();
}

// What the symbols bring, gathered into rows; each thread its part of the places.
void Pass::enter() {
    const int width = net_.entering_width;
    for (int n = team_.from(N_); n < team_.to(N_); ++n)
        std::memcpy(run_.symbols.get() + std::ptrdiff_t(n) * width, net_.symbols.get() + ids_[n] * width, sizeof(float) * width);
    team_.wait();
}

void Pass::plain() {
    const float* x = nullptr;
    for (int at = 0; at < net_.shape.layers; ++at) {
        if (at == 0 && net_.shape.cell != Cell::NGRAM && !net_.table.get()) enter();
        cell(at, at ? x : run_.symbols.get(), at == 0);
        x = given_;
    }
}

// One layer's cell, of x (N, width); given_ is what it gave. ready: all of x is there; else the own units are.
void Pass::cell(int at, const float* x, bool ready) {
    const bool table = at == 0 && !net_.shape.residual && net_.table.get();
    Run::Layer& state = run_.layers[at];
    float* out = state.h[turn_].get() + (std::ptrdiff_t(run_.steps) - T_) * B_ * width_;
    given_ = out;
    given_stride_ = width_;
    if (net_.shape.cell == Cell::NGRAM) return ngram(at, x);
    const Layer& layer = net_.layers[at];
    Input in{};
    if (!table) {
        if (!ready) team_.wait();
        const Packed& weights = layer.input[0];
        in = input(x, weights.columns, weights.columns, layer.entering, N_, weights.precision, nullptr, run_.entered);
    }
    if (net_.shape.cell == Cell::MINGRU) return scan(at, in, table);
    const int wide = gates_ * units_, own = u0_ * gates_ * LANES;
    if (!table) product(layer.input[0], in, N_, u0_ * gates_, u1_ * gates_, run_.pre.get() + own, wide, layer.bias.get() + own, 0);
    step_by_step(at);
}

// A cell that goes step by step: rnn, gru, lstm.
void Pass::step_by_step(int at) {
    const Layer& layer = net_.layers[at];
    Run::Layer& state = run_.layers[at];
    const Precision precision = layer.recurrent.precision;
    const bool table = at == 0 && !net_.shape.residual && net_.table.get();
    const Cell kind = net_.shape.cell;
    const bool reset_before = net_.shape.reset_before;
    const int made = reset_before ? 2 : gates_, wide = gates_ * units_, activation = int(net_.shape.activation);
    const std::ptrdiff_t step = std::ptrdiff_t(B_) * width_;
    const float* before = state.h[1 - turn_].get() + run_.last();
    float* after = state.h[turn_].get() + (std::ptrdiff_t(run_.steps) - T_) * step;
    for (int t = 0; t < T_; ++t, before = after - step) {
        auto x_of = [&](int b, int unit) {
            const int n = t * B_ + b;
            return (table ? net_.table.get() + ids_[n] * net_.table_width : run_.pre.get() + std::ptrdiff_t(n) * wide) + unit * gates_;
        };
        if (t) team_.wait();
        Input in = input(before, width_, width_, net_.shape.hidden, B_, precision, nullptr, run_.state);
        const int size = tile(u1_ - u0_, B_, made);
        for (int u = u0_; u < u1_; u += size) {
            const int blocks = std::min(size, u1_ - u), unit = u * LANES, row = blocks * made * LANES;
            const float* start = layer.recurrent_bias.get() ? layer.recurrent_bias.get() + unit * made : nullptr;
            product(layer.recurrent, in, B_, u * made, (u + blocks) * made, own_.tile.get(), row, start, 0);
            for (int b = 0; b < B_; ++b) {
                const float* r = own_.tile.get() + std::ptrdiff_t(b) * row;
                const std::ptrdiff_t h = std::ptrdiff_t(b) * width_ + unit, own = std::ptrdiff_t(b) * units_ + unit;
                if (kind == Cell::RNN)
                    cells_.rnn_cell(activation, x_of(b, unit), r, after + h, blocks);
                else if (kind == Cell::LSTM)
                    cells_.lstm_cell(x_of(b, unit), r, state.cell.get() + own, after + h, blocks);
                else if (reset_before)
                    cells_.gru_reset(x_of(b, unit), r, before + h, run_.left.get() + h, run_.keep.get() + own, blocks);
                else
                    cells_.gru_cell(x_of(b, unit), r, before + h, after + h, blocks);
            }
        }
        if (reset_before) {
            team_.wait();
            in = input(run_.left.get(), width_, width_, net_.shape.hidden, B_, precision, nullptr, run_.state);
            const int few = tile(u1_ - u0_, B_, 1);
            for (int u = u0_; u < u1_; u += few) {
                const int blocks = std::min(few, u1_ - u), unit = u * LANES, row = blocks * LANES;
                product(layer.candidate, in, B_, u, u + blocks, own_.tile.get(), row, nullptr, 0);
                for (int b = 0; b < B_; ++b) {
                    const std::ptrdiff_t h = std::ptrdiff_t(b) * width_ + unit;
                    const float* keep = run_.keep.get() + std::ptrdiff_t(b) * units_ + unit;
                    cells_.gru_fresh(x_of(b, unit), own_.tile.get() + std::ptrdiff_t(b) * row, keep, before + h, after + h, blocks);
                }
            }
        }
        after += step;
    }
}

// A cell without products of its state, mingru: all steps of a few units at once.
void Pass::scan(int at, const Input& in, bool table) {
    const Layer& layer = net_.layers[at];
    Run::Layer& state = run_.layers[at];
    float* out = state.h[turn_].get() + (std::ptrdiff_t(run_.steps) - T_) * B_ * width_;
    const int size = tile(u1_ - u0_, N_, gates_);
    for (int u = u0_; u < u1_; u += size) {
        const int blocks = std::min(size, u1_ - u), unit = u * LANES, row = blocks * gates_ * LANES;
        float* x = own_.tile.get();
        if (!table)
            product(layer.input[0], in, N_, u * gates_, (u + blocks) * gates_, x, row, layer.bias.get() + unit * gates_, 0);
        else
            for (int n = 0; n < N_; ++n)
                std::memcpy(x + std::ptrdiff_t(n) * row, net_.table.get() + ids_[n] * net_.table_width + unit * gates_,
                            sizeof(float) * row);
        for (int b = 0; b < B_; ++b)
            cells_.mingru_cell(x + std::ptrdiff_t(b) * row, std::ptrdiff_t(B_) * row, state.cell.get() + std::ptrdiff_t(b) * units_ + unit,
                               out + std::ptrdiff_t(b) * width_ + unit, std::ptrdiff_t(B_) * width_, T_, blocks);
    }
}

// A window of what entered: a product for each of its symbols, all places at once.
void Pass::ngram(int at, const float* x) {
    const Layer& layer = net_.layers[at];
    Run::Layer& state = run_.layers[at];
    const bool symbols = at == 0 && !net_.shape.residual;
    const int width = layer.input[0].columns, before = net_.shape.window - 1;
    const int c0 = team_.from(width / LANES) * LANES, c1 = team_.to(width / LANES) * LANES;  // own columns of what is seen
    float* now = state.seen.get() + std::ptrdiff_t(before) * B_ * width;
    const int own0 = symbols ? c0 : u0_ * LANES, own1 = symbols ? c1 : u1_ * LANES;
    for (int n = 0; n < N_; ++n) {
        float* to = now + std::ptrdiff_t(n) * width;
        if (symbols && !net_.symbols.get()) {
            const std::int64_t one = net_.shape.codes ? 0 : ids_[n];
            std::memset(to + c0, 0, sizeof(float) * (c1 - c0));
            if (one >= c0 && one < c1) to[one] = net_.shape.codes ? float(ids_[n]) : 1.0f;
        } else {
            const float* from = symbols ? net_.symbols.get() + ids_[n] * width : x + std::ptrdiff_t(n) * width_;
            if (own0 < own1) std::memcpy(to + own0, from + own0, sizeof(float) * (own1 - own0));
        }
    }
    team_.wait();
    const Input in =
        input(state.seen.get(), width, width, layer.entering, (before + T_) * B_, layer.input[0].precision, nullptr, run_.entered);
    float* out = state.h[turn_].get() + (std::ptrdiff_t(run_.steps) - T_) * B_ * width_;
    const std::size_t bytes = layer.input[0].precision == Precision::F32 ? 4 : layer.input[0].precision == Precision::BF16 ? 2 : 1;
    const int size = tile(u1_ - u0_, N_, 1);
    for (int u = u0_; u < u1_; u += size) {
        const int blocks = std::min(size, u1_ - u), row = blocks * LANES;
        for (int symbol = 0; symbol <= before; ++symbol) {
            const std::ptrdiff_t from = std::ptrdiff_t(symbol) * B_;
            const Input part{static_cast<const char*>(in.x) + from * in.stride * bytes, in.stride, in.scale + (bytes == 1 ? from : 0)};
            const float* start = symbol ? own_.tile.get() : layer.bias.get() + u * LANES;
            product(layer.input[symbol], part, N_, u, u + blocks, own_.tile.get(), row, start, symbol ? row : 0);
        }
        for (int n = 0; n < N_; ++n)
            cells_.rnn_cell(int(net_.shape.activation), own_.tile.get() + std::ptrdiff_t(n) * row, nullptr,
                            out + std::ptrdiff_t(n) * width_ + u * LANES, blocks);
    }
    if (!before) return;
    team_.wait();  // all have read what was seen: it goes on by T steps, each thread the columns that it writes
    for (int n = 0; n < before * B_; ++n)
        if (own0 < own1)
            std::memcpy(state.seen.get() + std::ptrdiff_t(n) * width + own0, state.seen.get() + (std::ptrdiff_t(n) + N_) * width + own0,
                        sizeof(float) * (own1 - own0));
}

// The logits, by whoever is to deal with them.
Logits Pass::output() {
    team_.wait();
    const Packed& weights = net_.output;
    const float* norm = net_.shape.residual ? net_.output_norm.get() : nullptr;
    const Input in = input(given_, given_stride_, width_, net_.shape.hidden, N_, weights.precision, norm, run_.entered);
    const int wide = run_.logits_width(), blocks = weights.blocks();
    if (N_ <= FEW && team_.size > 1) {
        if (std::int64_t(weights.rows) * weights.columns <= SMALL_OUTPUT) {
            product(weights, in, N_, 0, blocks, own_.logits.get(), wide, net_.output_bias.get(), 0);
            return Logits{own_.logits.get(), 0, N_, team_.number == 0};
        }
        const int first = team_.from(blocks) * LANES;
        product(weights, in, N_, team_.from(blocks), team_.to(blocks), run_.logits.get() + first, wide, net_.output_bias.get() + first, 0);
        team_.wait();
        return Logits{run_.logits.get(), 0, N_, team_.number == 0};
    }
    const int first = team_.from(N_), last = team_.to(N_);
    const std::size_t bytes = weights.precision != Precision::F32 ? (weights.precision == Precision::BF16 ? 2 : 1) : 4;
    const Input part{static_cast<const char*>(in.x) + first * in.stride * std::ptrdiff_t(bytes), in.stride,
                     in.scale ? in.scale + first : nullptr};
    float* logits = run_.logits.get() + std::ptrdiff_t(first) * wide;
    product(weights, part, last - first, 0, blocks, logits, wide, net_.output_bias.get(), 0);
    return Logits{logits, first, last, true};
}

}}  // namespace escriba::engine

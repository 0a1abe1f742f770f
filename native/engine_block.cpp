// Running the residual stack: see engine_run.h.
#include <algorithm>
#include <cstring>

#include "engine_run.h"

namespace escriba { namespace engine {

void Pass::residual() {
    float* stream = run_.stream[turn_].get();
    const int unit = u0_ * LANES, own = (u1_ - u0_) * LANES;
    if (net_.stream.get()) {
        for (int n = 0; n < N_ && own; ++n)
            std::memcpy(stream + std::ptrdiff_t(n) * width_ + unit, net_.stream.get() + ids_[n] * width_ + unit, sizeof(float) * own);
    } else {
        enter();
        const Input in = input(run_.symbols.get(), net_.entering_width, net_.entering_width, net_.entering, N_, net_.entry.precision,
                               nullptr, run_.entered);
        product(net_.entry, in, N_, u0_, u1_, stream + unit, width_, nullptr, 0);
    }
    for (int at = 0; at < net_.shape.layers; ++at) block(at);
    given_ = stream;
    given_stride_ = width_;
}

void Pass::block(int at) {
    const Layer& layer = net_.layers[at];
    Run::Layer& state = run_.layers[at];
    float* stream = run_.stream[turn_].get();
    const int hidden = net_.shape.hidden, before = std::max(0, net_.shape.conv - 1), blocks = u1_ - u0_, unit = u0_ * LANES;
    const std::ptrdiff_t wide = 2 * units_, step = B_ * wide;
    const Precision precision = layer.branch_in.precision;
    // values and gates
    float* pairs = state.pairs.get() + before * step;
    if (at == 0 && net_.table.get()) {
        for (int n = 0; n < N_ && blocks; ++n)
            std::memcpy(pairs + n * wide + 2 * unit, net_.table.get() + ids_[n] * net_.table_width + 2 * unit,
                        sizeof(float) * 2 * blocks * LANES);
    } else {
        team_.wait();
        const Input in = input(stream, width_, width_, hidden, N_, precision, layer.norm.get(), run_.entered);
        product(layer.branch_in, in, N_, 2 * u0_, 2 * u1_, pairs + 2 * unit, wide, nullptr, 0);
    }
    // what enters the cell
    for (int n = 0; n < N_; ++n) {
        const float* v = pairs + n * wide + 2 * unit;
        float* x = run_.x.get() + std::ptrdiff_t(n) * width_ + unit;
        if (net_.shape.conv)
            cells_.conv_step(v - before * step, step, layer.conv_weight.get() + unit, units_, layer.conv_bias.get() + unit, net_.shape.conv,
                             x, blocks);
        else
            for (int b = 0; b < blocks; ++b) std::memcpy(x + b * LANES, v + 2 * b * LANES, sizeof(float) * LANES);
    }
    cell(at, run_.x.get(), false);
    // the gated output, back into the stream
    for (int n = 0; n < N_; ++n)
        cells_.gate_by(given_ + std::ptrdiff_t(n) * width_ + unit, LANES, pairs + n * wide + 2 * unit + LANES, 2 * LANES,
                       run_.y.get() + std::ptrdiff_t(n) * width_ + unit, blocks);
    for (int n = 0; n < before * B_ && blocks; ++n)  // the last values, for the next convolution
        std::memcpy(state.pairs.get() + n * wide + 2 * unit, state.pairs.get() + (n + std::ptrdiff_t(N_)) * wide + 2 * unit,
                    sizeof(float) * 2 * blocks * LANES);
    team_.wait();
    Input in = input(run_.y.get(), width_, width_, hidden, N_, precision, nullptr, run_.entered);
    product(layer.branch_out, in, N_, u0_, u1_, stream + unit, width_, stream + unit, width_);
    if (!net_.shape.mlp) return;
    team_.wait();
    in = input(stream, width_, width_, hidden, N_, precision, layer.mlp_norm.get(), run_.entered);
    const int m0 = team_.from(net_.inner / LANES), m1 = team_.to(net_.inner / LANES), size = tile(m1 - m0, N_, 2);
    for (int m = m0; m < m1; m += size) {
        const int some = std::min(size, m1 - m), row = 2 * some * LANES;
        product(layer.up, in, N_, 2 * m, 2 * (m + some), own_.tile.get(), row, nullptr, 0);
        for (int n = 0; n < N_; ++n) {
            const float* halves = own_.tile.get() + std::ptrdiff_t(n) * row;
            cells_.gate_by(halves, 2 * LANES, halves + LANES, 2 * LANES,
                           run_.inner.get() + std::ptrdiff_t(n) * net_.inner_width + m * LANES, some);
        }
    }
    team_.wait();
    const int inner = net_.shape.mlp * hidden;
    in = input(run_.inner.get(), net_.inner_width, net_.inner_width, inner, N_, precision, nullptr, run_.entered);
    product(layer.down, in, N_, u0_, u1_, stream + unit, width_, stream + unit, width_);
}

}}  // namespace escriba::engine

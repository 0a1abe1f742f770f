// The memory of a call, and how the states of rows come into it and out again: see engine_run.h.
#include <algorithm>
#include <cstring>

#include "engine_run.h"

namespace escriba { namespace engine {

Run::Run(const Network& network, int most, int chunk, int team) : net(network), most_rows(most), steps(chunk) {
    const Shape& shape = net.shape;
    const std::size_t places = std::size_t(most) * chunk, width = net.width, units = net.units;
    const bool ngram = shape.cell == Cell::NGRAM, float32 = shape.precision == Precision::F32;
    const std::size_t before = ngram ? shape.window - 1 : 0;
    std::size_t widest = std::max<std::size_t>(width, net.inner_width);  // of what is converted
    for (int at = 0; at < shape.layers; ++at) {
        layers.emplace_back();
        Layer& made = layers.back();
        for (Buffer<float>& h : made.h) h = Buffer<float>(places * width);
        if (shape.cell == Cell::LSTM || shape.cell == Cell::MINGRU) made.cell = Buffer<float>(most * units);
        if (ngram) {
            const std::size_t wide = net.layers[at].input[0].columns;
            made.seen = Buffer<float>((before * most + places) * wide);
            widest = std::max(widest, wide);
        }
        if (shape.residual) made.pairs = Buffer<float>((std::size_t(std::max(0, shape.conv - 1)) * most + places) * 2 * units);
    }
    if (net.symbols.get()) {
        symbols = Buffer<float>(places * net.entering_width);
        widest = std::max<std::size_t>(widest, net.entering_width);
    }
    const bool multiplied = shape.layers > 1 || shape.residual || !net.table.get();
    if (net.recurrent() && multiplied) pre = Buffer<float>(places * net.gates * units);
    if (shape.residual) {
        for (Buffer<float>& one : stream) one = Buffer<float>(places * width);
        x = Buffer<float>(places * width);
        y = Buffer<float>(places * width);
        inner = Buffer<float>(places * net.inner_width);
    }
    if (shape.cell == Cell::GRU && shape.reset_before) {
        keep = Buffer<float>(most * units);
        left = Buffer<float>(most * width);
    }
    if (!float32 || shape.residual) entered = Converted(before * most + places, widest);
    if (!float32 && net.recurrent()) state = Converted(most, width);
    logits = Buffer<float>(places * logits_width());
    for (int number = 0; number < team; ++number) {
        own.emplace_back();
        Own& made = own.back();
        // a tile is as many blocks as `tile` allows, one at least; of every block and few places it is no more than all gates
        const std::size_t wide = std::size_t(LANES) * std::max(net.gates, 2);
        made.tile = Buffer<float>(std::max(places * wide, std::size_t(TILE_NUMBERS)));
        if (!float32 || shape.residual) made.converted = Converted(FEW, widest);
        made.row = Buffer<float>(widest);
        if (team > 1) made.logits = Buffer<float>(FEW * logits_width());
        made.ids = Buffer<std::int64_t>(places);
        made.draws.weights.reserve(shape.vocab);
        made.draws.ordered.reserve(shape.vocab);
        made.draws.likeliest.reserve(shape.vocab);
    }
}

// copy(array, its numbers a row, row, from which number of it, where in memory, how many numbers)
template <class Copy>
void Run::each_piece(Copy copy) const {
    const Shape& shape = net.shape;
    int array = 0;
    for (std::size_t at = 0; at < layers.size(); ++at) {
        const Layer& layer = layers[at];
        const int hidden = shape.hidden, before = std::max(0, shape.conv - 1);
        if (shape.cell == Cell::NGRAM) {
            const int entering = net.layers[at].entering, wide = net.layers[at].input[0].columns;
            for (int b = 0; b < rows; ++b)
                for (int j = 0; j < shape.window - 1; ++j)
                    copy(array, (shape.window - 1) * entering, b, j * entering, layer.seen.get() + (std::size_t(j) * rows + b) * wide,
                         entering);
            ++array;
        } else {
            for (int b = 0; b < rows && net.recurrent(); ++b)
                copy(array, hidden, b, 0, layer.h[turn].get() + last() + std::size_t(b) * net.width, hidden);
            array += net.recurrent();
            for (int b = 0; b < rows && layer.cell.get(); ++b)
                copy(array, hidden, b, 0, layer.cell.get() + std::size_t(b) * net.units, hidden);
            array += layer.cell.get() != nullptr;
        }
        if (!shape.residual || !before) continue;
        for (int b = 0; b < rows; ++b)
            for (int j = 0; j < before; ++j)
                for (int i = 0; i < hidden; i += LANES)
                    copy(array, before * hidden, b, j * hidden + i, layer.pairs.get() + (std::size_t(j) * rows + b) * 2 * net.units + 2 * i,
                         std::min(LANES, hidden - i));
        ++array;
    }
}

void Run::load(const float* const* from, std::int64_t first, int count) {
    rows = count;
    turn = 1;  // the first chunk writes the other
    each_piece([&](int array, int size, int row, int at, float* to, int n) {
        std::memcpy(to, from[array] + (first + row) * size + at, sizeof(float) * n);
    });
}

void Run::store(float* const* to, std::int64_t first) const {
    each_piece([&](int array, int size, int row, int at, const float* from, int n) {
        std::memcpy(to[array] + (first + row) * size + at, from, sizeof(float) * n);
    });
}

}}  // namespace escriba::engine

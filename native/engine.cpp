// How a model is made from its tensors: see engine.h.
#include "engine.h"

#include <cmath>
#include <cstring>
#include <stdexcept>

namespace escriba { namespace engine {

namespace {

constexpr float SHUT = -80;  // the bias of units that only pad: its sigmoid is nothing, so they never show in a row's largest number

const float* needed(const Tensors& tensors, const std::string& name) {
    const float* found = tensors[name];
    if (!found) throw std::invalid_argument(name);
    return found;
}

// Row i of gates side by side, in a matrix whose gates of `size` units are stacked, the first of them `from`; -1: padding.
struct Gates {
    int count, size, from = 0;
    int operator()(int i) const {
        const int block = i / LANES, unit = block / count * LANES + i % LANES;
        return unit < size ? (from + block % count) * size + unit : -1;
    }
};

Buffer<float> padded_copy(const float* from, int n, int to) {
    Buffer<float> made(to);
    std::memcpy(made.get(), from, sizeof(float) * n);
    return made;
}

Buffer<float> gate_bias(const float* from, const Gates& gates, int rows, float padding = 0) {
    Buffer<float> made(rows);
    for (int i = 0; i < rows; ++i) made[i] = gates(i) < 0 ? padding : from[gates(i)];
    return made;
}

class Builder {
  public:
    Builder(const Shape& shape, const Tensors& tensors, const Kernels& kernels, std::int64_t table_bytes)
        : tensors_(tensors), table_bytes_(table_bytes) {
        net.shape = shape;
        net.kernels = &kernels;
        const int counts[] = {1, 3, 4, 2, 1};
        net.gates = counts[int(shape.cell)];
        net.units = padded(shape.hidden, LANES);
        net.width = padded(shape.hidden, K_STEP);
        net.inner = padded(shape.mlp * shape.hidden, LANES);
        net.inner_width = padded(shape.mlp * shape.hidden, K_STEP);
        net.entering = shape.codes ? 1 : shape.embedding ? shape.embedding : shape.vocab;
        net.entering_width = padded(net.entering, K_STEP);
        if (shape.embedding && !shape.codes)
            net.symbols = padded_rows(needed(tensors, "embedding.weight"), net.entering, net.entering_width);
        for (int at = 0; at < shape.layers; ++at) layer(at);
        if (shape.residual)
            residual_entry();
        else if (shape.cell != Cell::NGRAM)
            first_table();
        const float* out = needed(tensors, shape.tied ? "embedding.weight" : "output.weight");
        net.output = pack(out, shape.hidden, shape.vocab, shape.hidden, shape.precision, [](int i) { return i; });
        net.output_bias = Buffer<float>(net.output.rows);
        for (int i = 0; i < net.output.rows; ++i) net.output_bias[i] = -3e38f;  // what only pads is never likely
        std::memcpy(net.output_bias.get(), needed(tensors, "output.bias"), sizeof(float) * shape.vocab);
        if (shape.residual) net.output_norm = padded_copy(needed(tensors, "norm.weight"), shape.hidden, net.width);
        net.numbers += std::int64_t(net.output.rows) * net.output.columns;
    }
    Network net;

  private:
    const Tensors& tensors_;
    std::int64_t table_bytes_;

    // The whole table (V, to) of rows that are `n` long.
    Buffer<float> padded_rows(const float* from, int n, int to) const {
        Buffer<float> made(std::size_t(net.shape.vocab) * to);
        for (int v = 0; v < net.shape.vocab; ++v)
            std::memcpy(made.get() + std::size_t(v) * to, from + std::size_t(v) * n, sizeof(float) * n);
        return made;
    }

    Packed packed(const float* weights, int stride, int columns, const Gates& gates, int rows, Precision precision,
                  const float* scales = nullptr) {
        Packed made = pack(weights, stride, rows, columns, precision, gates, scales);
        net.numbers += std::int64_t(made.rows) * made.columns;
        return made;
    }

    void layer(int at) {
        const Shape& shape = net.shape;
        const std::string prefix = "layers." + std::to_string(at) + ".";
        auto tensor = [&](const char* name) { return needed(tensors_, prefix + name); };
        const int hidden = shape.hidden, rows = net.gates * net.units;
        const Gates gates{net.gates, hidden};
        net.layers.emplace_back();
        Layer& made = net.layers.back();
        made.entering = at || shape.residual ? hidden : net.entering;
        const bool two = shape.cell == Cell::GRU && !shape.reset_before;
        const bool shut = (shape.cell == Cell::RNN || shape.cell == Cell::NGRAM) && shape.activation == Activation::SIGMOID;
        made.bias = gate_bias(tensor(two ? "bias_ih" : "bias"), gates, rows, shut ? SHUT : 0.0f);
        made.recurrent_bias = two ? gate_bias(tensor("bias_hh"), gates, rows) : Buffer<float>();
        const float* weight_ih = tensor("weight_ih");
        if (shape.cell == Cell::NGRAM) {
            const int seen = shape.window * made.entering;
            // a code of many digits would lose some in a shorter precision
            const Precision precision = at == 0 && shape.codes ? Precision::F32 : shape.precision;
            Buffer<float> scales(hidden);  // of the whole row: what is packed piece by piece is the same weights
            for (int i = 0; i < hidden; ++i) {
                float most = 0;
                for (int k = 0; k < seen; ++k) most = std::fmax(most, std::fabs(weight_ih[std::size_t(i) * seen + k]));
                scales[i] = most / 127;
            }
            for (int symbol = 0; symbol < shape.window; ++symbol)
                made.input.push_back(packed(weight_ih + symbol * made.entering, seen, made.entering, gates, rows, precision, scales.get()));
        } else if (at || shape.residual) {
            made.input.push_back(packed(weight_ih, made.entering, made.entering, gates, rows, shape.precision));
        }
        if (net.recurrent()) {
            const float* weight_hh = tensor("weight_hh");
            if (shape.cell == Cell::GRU && shape.reset_before) {
                made.recurrent = packed(weight_hh, hidden, hidden, Gates{2, hidden}, 2 * net.units, shape.precision);
                made.candidate = packed(weight_hh, hidden, hidden, Gates{1, hidden, 2}, net.units, shape.precision);
            } else {
                made.recurrent = packed(weight_hh, hidden, hidden, gates, rows, shape.precision);
            }
        }
        if (shape.residual) block(made, tensor);
    }

    template <class Tensor>
    void block(Layer& made, Tensor tensor) {
        const Shape& shape = net.shape;
        const int hidden = shape.hidden, inner = shape.mlp * hidden;
        made.norm = padded_copy(tensor("norm"), hidden, net.width);
        made.branch_in = packed(tensor("weight_in"), hidden, hidden, Gates{2, hidden}, 2 * net.units, shape.precision);
        made.branch_out = packed(tensor("weight_out"), hidden, hidden, Gates{1, hidden}, net.units, shape.precision);
        if (shape.conv) {
            const float* weight = tensor("conv_weight");
            made.conv_weight = Buffer<float>(std::size_t(shape.conv) * net.units);
            for (int i = 0; i < hidden; ++i)
                for (int j = 0; j < shape.conv; ++j)
                    made.conv_weight[std::size_t(j) * net.units + i] = weight[std::size_t(i) * shape.conv + j];
            made.conv_bias = padded_copy(tensor("conv_bias"), hidden, net.units);
        }
        if (shape.mlp) {
            made.mlp_norm = padded_copy(tensor("mlp_norm"), hidden, net.width);
            made.up = packed(tensor("weight_up"), hidden, hidden, Gates{2, inner}, 2 * net.inner, shape.precision);
            made.down = packed(tensor("weight_down"), inner, inner, Gates{1, hidden}, net.units, shape.precision);
        }
    }

    bool fits(int rows) const { return std::int64_t(net.shape.vocab) * rows * std::int64_t(sizeof(float)) <= table_bytes_; }

    // y = W x + start of every symbol, in float32
    Buffer<float> product_of_symbols(const Packed& weights, const float* x, int x_width, const float* start, int width) const {
        Buffer<float> made(std::size_t(net.shape.vocab) * width);
        product(*net.kernels, weights, Product{0, weights.blocks(), 0, net.shape.vocab, x, x_width, made.get(), width, start, 0, nullptr});
        return made;
    }

    // The first layer's input product of every symbol. One-hot: the columns of the matrix, so it takes no more room than they do.
    void first_table() {
        const Shape& shape = net.shape;
        Layer& first = net.layers[0];
        const float* weight_ih = needed(tensors_, "layers.0.weight_ih");
        const int rows = net.gates * net.units;
        const Gates gates{net.gates, shape.hidden};
        if (!shape.embedding) {
            net.table = Buffer<float>(std::size_t(shape.vocab) * rows);
            for (int v = 0; v < shape.vocab; ++v)
                for (int i = 0; i < rows; ++i) {
                    const int from = gates(i);
                    const float weight = from < 0 ? 0.0f : weight_ih[std::size_t(from) * shape.vocab + v];
                    net.table[std::size_t(v) * rows + i] = first.bias[i] + weight;
                }
        } else if (fits(rows)) {
            const Packed whole = pack(weight_ih, net.entering, rows, net.entering, Precision::F32, gates);
            net.table = product_of_symbols(whole, net.symbols.get(), net.entering_width, first.bias.get(), rows);
            net.symbols = Buffer<float>();
        } else {
            first.input.push_back(packed(weight_ih, net.entering, net.entering, gates, rows, shape.precision));
        }
        net.table_width = rows;
    }

    // What every symbol brings into the stack, and the first block's norm and product of it.
    void residual_entry() {
        const Shape& shape = net.shape;
        if (!shape.embedding) {
            const float* weight = needed(tensors_, "entry.weight");
            net.stream = Buffer<float>(std::size_t(shape.vocab) * net.width);
            for (int v = 0; v < shape.vocab; ++v)
                for (int i = 0; i < shape.hidden; ++i)
                    net.stream[std::size_t(v) * net.width + i] = weight[std::size_t(i) * shape.vocab + v];
        } else if (shape.embedding == shape.hidden) {
            net.stream = std::move(net.symbols);
            net.symbols = Buffer<float>();
        } else if (fits(net.width)) {
            const Packed whole =
                pack(needed(tensors_, "entry.weight"), net.entering, shape.hidden, net.entering, Precision::F32, [](int i) { return i; });
            net.stream = product_of_symbols(whole, net.symbols.get(), net.entering_width, nullptr, net.width);
            net.symbols = Buffer<float>();
        } else {
            net.entry =
                packed(needed(tensors_, "entry.weight"), net.entering, net.entering, Gates{1, shape.hidden}, net.units, shape.precision);
        }
        if (!net.stream.get() || !fits(2 * net.units)) return;
        Buffer<float> normed(std::size_t(shape.vocab) * net.width);
        for (int v = 0; v < shape.vocab; ++v) {
            const std::size_t at = std::size_t(v) * net.width;
            net.kernels->engine->rms_norm(net.stream.get() + at, net.layers[0].norm.get(), normed.get() + at, net.width, shape.hidden);
        }
        const Packed whole =
            pack(needed(tensors_, "layers.0.weight_in"), shape.hidden, 2 * net.units, shape.hidden, Precision::F32, Gates{2, shape.hidden});
        net.table = product_of_symbols(whole, normed.get(), net.width, nullptr, 2 * net.units);
        net.table_width = 2 * net.units;
    }
};

}  // namespace

const float* Tensors::operator[](const std::string& name) const {
    for (int i = 0; i < count; ++i)
        if (name == names[i]) return data[i];
    return nullptr;
}

int Network::state_arrays() const { return (shape.cell == Cell::LSTM ? 2 : 1) + (shape.residual && shape.conv > 1 ? 1 : 0); }

Network build(const Shape& shape, const Tensors& tensors, const Kernels& kernels, std::int64_t table_bytes) {
    return std::move(Builder(shape, tensors, kernels, table_bytes).net);
}

}}  // namespace escriba::engine

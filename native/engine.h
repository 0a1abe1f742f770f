// A model made to run: its weights packed for the products, and what its first layer makes of every symbol.
//
// It is built once and never changed, so any number of threads may run it at once. It knows nothing of Python, nor of how it is run
// (engine_run.h).
//
// Rows of numbers are padded: a vector of H numbers to `width`, a multiple of K_STEP, where it enters a product; gates to `units`, a
// multiple of 16. The gates of 16 units stand side by side: r, z, n of the units 0 to 15, then r, z, n of 16 to 31; so whoever makes
// the products of some units has all that their new state needs.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "pack.h"

namespace escriba { namespace engine {

enum class Cell : int { RNN = 0, GRU = 1, LSTM = 2, MINGRU = 3, NGRAM = 4 };
enum class Activation : int { TANH = 0, RELU = 1, SIGMOID = 2 };

struct Shape {
    Cell cell;
    Activation activation;
    bool reset_before;  // gru
    int vocab;
    int embedding;  // numbers of a symbol at the input; 0: one-hot
    bool codes;  // a symbol enters as its id
    int hidden;
    int layers;
    bool tied;
    int window;  // ngram
    bool residual;
    int conv;  // residual: symbols that the convolution sees; 0: none
    int mlp;  // residual: inner width as a multiple of hidden; 0: none
    Precision precision;
};

// Named arrays of float32; shapes were checked before.
struct Tensors {
    const char* const* names;
    const float* const* data;
    int count;
    const float* operator[](const std::string& name) const;  // nullptr: there is none
};

inline int padded(int n, int to) { return (n + to - 1) / to * to; }

struct Layer {
    int entering = 0;  // numbers that enter the cell
    std::vector<Packed> input;  // the gates' product of what enters; ngram: of each symbol of the window, the oldest first
    Buffer<float> bias;  // of the gates, (gates units)
    Packed recurrent;  // the gates' product of the state; gru that resets before: of r and z alone
    Buffer<float> recurrent_bias;
    Packed candidate;  // gru that resets before: the product of n
    // a block of a residual stack
    Buffer<float> norm, conv_weight, conv_bias, mlp_norm;  // conv_weight: (conv, units), the oldest first
    Packed branch_in, branch_out, up, down;  // the halves of branch_in and up stand side by side, as gates do
};

struct Network {
    Shape shape;
    const Kernels* kernels = nullptr;
    int gates = 1;
    int units = 0;  // hidden, padded to 16
    int width = 0;  // hidden, padded to K_STEP
    int inner = 0;  // mlp times hidden, padded to 16
    int inner_width = 0;  // the same, padded to K_STEP
    int entering = 0;  // numbers that a symbol brings
    int entering_width = 0;
    Buffer<float> symbols;  // (V, entering_width): the embedding; empty: one-hot, codes, or not needed any more
    Buffer<float> stream;  // residual: what a symbol brings into the stack, (V, width); empty: `entry` makes it
    Packed entry;  // residual: from an embedding of another width
    Buffer<float> table;  // the first layer's product of every symbol with its bias, or the first block's; empty: made when needed
    int table_width = 0;
    std::vector<Layer> layers;
    Buffer<float> output_norm;
    Packed output;
    Buffer<float> output_bias;
    std::int64_t numbers = 0;  // weights that a step multiplies by
    bool recurrent() const { return shape.cell == Cell::RNN || shape.cell == Cell::GRU || shape.cell == Cell::LSTM; }
    int state_arrays() const;  // of one layer
};

// Throws std::invalid_argument where a tensor is missing; std::bad_alloc.
Network build(const Shape& shape, const Tensors& tensors, const Kernels& kernels, std::int64_t table_bytes);

}}  // namespace escriba::engine

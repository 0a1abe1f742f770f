// What the loops of rnn, gru and lstm in training share: the elementwise work of one step, done by a level, and its arrays.
//
// "Real" numbers are float32 (or float64, for the check of the gradients); "stored" ones are bfloat16 where the products are, else real.
// It knows nothing of threads and of time.
#pragma once
#include <cstddef>
#include <cstdint>

namespace escriba {

enum class ClassicCell : int { RNN_TANH = 0, RNN_RELU = 1, RNN_SIGMOID = 2, GRU = 3, LSTM = 4 };

inline int gates_of(ClassicCell cell) { return cell == ClassicCell::GRU ? 3 : cell == ClassicCell::LSTM ? 4 : 1; }
// Vectors that the way back needs of each step: of gru r, z, n and n's recurrent product; of lstm i, f, g, o and c.
inline int kept_of(ClassicCell cell) { return cell == ClassicCell::GRU ? 4 : cell == ClassicCell::LSTM ? 5 : 0; }

// One step of 16 units of some rows, forward. Gates lie in PyTorch's order: r, z, n; i, f, g, o. Strides are in numbers.
struct ClassicForward {
    ClassicCell cell;
    bool narrow;                    // stored numbers are bfloat16
    int rows;
    const void* product;            // real: weights times state plus bias, gate beside gate
    std::ptrdiff_t product_row;
    const void* x;                  // the input's product: with ids real, of symbol ids[r ids_row]; else stored, of row r
    std::ptrdiff_t x_row, x_gate;
    const std::int64_t* ids;
    std::ptrdiff_t ids_row;
    void* h;                        // real (rows, 16): the state, renewed
    void* c;                        // the same, lstm's
    void* state;                    // stored: h for the next step's product
    std::ptrdiff_t state_row;
    void* output;                   // stored: h for who asked
    std::ptrdiff_t output_row;
    void* kept;                     // stored (rows, kept_of, 16), or none
};

// The same step, backward.
struct ClassicBackward {
    ClassicCell cell;
    bool narrow;
    int rows;
    const void* product;            // real: what the next step's gates send back to the state
    std::ptrdiff_t product_row;
    const void* d_output;           // stored, or none
    std::ptrdiff_t d_output_row;
    const void* kept;               // stored: of this step
    const void* kept_before;        // and of the step before (its c)
    const void* state;              // stored: h after this step
    const void* state_before;       // and before it
    std::ptrdiff_t state_row;
    void* d_h;                      // real (rows, 16): what reaches the state beside the product; renewed (gru)
    void* d_c;                      // the same of lstm's c
    void* d_gates;                  // stored: for the products with the weights
    std::ptrdiff_t d_gates_row, d_gate;
    void* d_x;                      // stored: the input's product's, or none
    std::ptrdiff_t d_x_row;
    void* d_table;                  // real (symbols, gates, 16): the same, added to the symbol's; or none
    const std::int64_t* ids;
    std::ptrdiff_t ids_row;
    void* d_bias;                   // real (gates, 16): the sums of d_gates over the rows are added
};

}  // namespace escriba

// Packs the recurrent weights, and multiplies by them: in float32 and bfloat16 by the level's products, in float64 here.
#include "train_classic_weights.h"

namespace escriba {
namespace {

void put(float from, float& to) { to = from; }
void put(float from, std::uint16_t& to) { to = bf16_of(from); }
void put(double from, double& to) { to = from; }

void multiply_f64(const double* weights, int columns, int blocks, int rows, const double* x, std::ptrdiff_t x_row, double* y,
                  std::ptrdiff_t y_row, const double* start) {
    for (int row = 0; row < rows; ++row)
        for (int block = 0; block < blocks; ++block) {
            const double* w = weights + std::ptrdiff_t(block) * columns * LANES;
            double sum[LANES];
            for (int i = 0; i < LANES; ++i) sum[i] = start ? start[block * LANES + i] : 0;
            for (int k = 0; k < columns; ++k)
                for (int i = 0; i < LANES; ++i) sum[i] += x[row * x_row + k] * w[k * LANES + i];
            for (int i = 0; i < LANES; ++i) y[row * y_row + block * LANES + i] = sum[i];
        }
}

}  // namespace

ClassicWeights::ClassicWeights(const void* weight, int gates, int hidden, bool backward, Numbers numbers)
    : weight_(weight), gates_(gates), hidden_(hidden), columns_(padded(backward ? gates * hidden : hidden)),
      blocks_((backward ? 1 : gates) * hidden / LANES), backward_(backward), numbers_(numbers),
      packed_(std::size_t(blocks_) * LANES * columns_ * bytes_stored(numbers)) {}

// Within a block, columns go in pairs where two numbers share 4 bytes.
template <class From, class To>
void ClassicWeights::pack_forward(int first, int last) {
    constexpr int PAIR = sizeof(To) == 2 ? 2 : 1;
    const From* weight = static_cast<const From*>(weight_);
    for (int block = first; block < last; ++block) {
        const From* from = weight + (std::ptrdiff_t(block % gates_) * hidden_ + block / gates_ * LANES) * hidden_;
        To* to = reinterpret_cast<To*>(packed_.get()) + std::ptrdiff_t(block) * LANES * columns_;
        for (int k = 0; k < hidden_; k += PAIR)
            for (int lane = 0; lane < LANES; ++lane)
                for (int i = 0; i < PAIR; ++i) put(from[std::ptrdiff_t(lane) * hidden_ + k + i], *to++);
    }
}

template <class From, class To>
void ClassicWeights::pack_backward(int first, int last) {
    constexpr int PAIR = sizeof(To) == 2 ? 2 : 1;
    const From* weight = static_cast<const From*>(weight_);
    for (int block = first; block < last; ++block) {
        const From* from = weight + block * LANES;
        To* to = reinterpret_cast<To*>(packed_.get()) + std::ptrdiff_t(block) * LANES * columns_;
        for (int k = 0; k < gates_ * hidden_; k += PAIR)
            for (int lane = 0; lane < LANES; ++lane)
                for (int i = 0; i < PAIR; ++i) put(from[std::ptrdiff_t(k + i) * hidden_ + lane], *to++);
    }
}

void ClassicWeights::pack(const Team& team) {
    const int first = team.from(blocks_), last = team.to(blocks_);
    using Half = std::uint16_t;
    if (numbers_ == Numbers::BF16) backward_ ? pack_backward<float, Half>(first, last) : pack_forward<float, Half>(first, last);
    else if (numbers_ == Numbers::F32) backward_ ? pack_backward<float, float>(first, last) : pack_forward<float, float>(first, last);
    else backward_ ? pack_backward<double, double>(first, last) : pack_forward<double, double>(first, last);
    team.wait();
}

void ClassicWeights::multiply(const Kernels& kernels, int first, int blocks, int rows, const void* x, std::ptrdiff_t x_row, void* y,
                              std::ptrdiff_t y_row, const void* start) const {
    const unsigned char* weights = packed_.get() + std::size_t(first) * LANES * columns_ * bytes_stored(numbers_);
    if (numbers_ == Numbers::F64) {
        multiply_f64(reinterpret_cast<const double*>(weights), columns_, blocks, rows, static_cast<const double*>(x), x_row,
                     static_cast<double*>(y), y_row, static_cast<const double*>(start));
        return;
    }
    const Product p{0, blocks, columns_, rows, x, x_row, static_cast<float*>(y), y_row, static_cast<const float*>(start), 0, nullptr};
    if (numbers_ == Numbers::BF16) kernels.product_bf16(reinterpret_cast<const std::uint16_t*>(weights), p);
    else kernels.product_f32(reinterpret_cast<const float*>(weights), p);
}

}  // namespace escriba

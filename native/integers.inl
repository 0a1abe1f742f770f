// How bfloat16 and int8 meet in a product on processors without instructions for it, and the conversions; included by every level.

template <class V>
struct PairsWidened : FloatSums<V> {  // a step is two columns: both are widened, the first is added first
    struct Weights { V first, second; };
    struct One { V first, second; };
    static constexpr int SIZE = 2;
    static Weights weights(const char* from) {
        Weights w;
        V::load_pairs(from, w.first, w.second);
        return w;
    }
    static One one(const char* from) {
        One x;
        V::set_pair(from, x.first, x.second);
        return x;
    }
    static V add(V sum, One x, Weights w) { return fma(x.second, w.second, fma(x.first, w.first, sum)); }
};

// From the sums of int8 products to y: the same operations on every level, so that levels agree to the bit.
template <class V>
inline void end_int8(V sum, const float* scales, const Product& p, int row, int block) {
    const V scaled = sum * (V::load(scales + block * LANES) * V::set(p.x_scale[row]));
    float* y = p.y + row * p.y_stride + block * LANES;
    if (p.start) (V::load(p.start + row * p.start_stride + block * LANES) + scaled).store(y);
    else scaled.store(y);
}

inline void to_bf16(const float* from, std::uint16_t* to, std::ptrdiff_t n) {
    for (std::ptrdiff_t i = 0; i < n; i += LANES) V::load(from + i).store_bf16(to + i);
}

inline void from_bf16(const std::uint16_t* from, float* to, std::ptrdiff_t n) {
    for (std::ptrdiff_t i = 0; i < n; i += LANES) V::load_bf16(from + i).store(to + i);
}

// Numbers too small to be divided by become zeros. Where one is infinite or none, the scale is no number, and so is all that it scales.
inline float quantize(const float* from, std::uint8_t* to, std::ptrdiff_t n) {
    V most = V::set(0), none = V::set(0);
    for (std::ptrdiff_t i = 0; i < n; i += LANES) {
        const V x = V::load(from + i);
        most = max(most, abs(x));
        none = none + x * V::set(0);
    }
    const float largest = most.largest();
    const float scale = largest > 1e-30f ? largest / 127 : 0;
    const V per = V::set(scale > 0 ? 1 / scale : 0);
    for (std::ptrdiff_t i = 0; i < n; i += LANES) (V::load(from + i) * per).store_offset(to + i);
    return scale + none.sum();
}

// Sixteen numbers at once, in plain C++: the form that every processor runs, and that defines what the others must do.
//
// A level (plain, AVX2, AVX-512) gives a type like this one; the formulas in the .inl files are written once, over any of them.
// It knows nothing of networks.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels.h"

namespace escriba {

template <class Real>
struct PlainLanes {
    using T = Real;
    T v[LANES];

    static PlainLanes set(T x) { PlainLanes r; for (T& one : r.v) one = x; return r; }
    static PlainLanes load(const T* from) { PlainLanes r; for (int i = 0; i < LANES; ++i) r.v[i] = from[i]; return r; }
    void store(T* to) const { for (int i = 0; i < LANES; ++i) to[i] = v[i]; }
    static void fetch(const char*) {}  // asks for memory that will soon be read; nothing here
    // bfloat16: the upper half of a float; rounded to the nearest, ties to even
    static PlainLanes load_bf16(const std::uint16_t* from) {
        PlainLanes r;
        for (int i = 0; i < LANES; ++i) {
            std::uint32_t bits = std::uint32_t(from[i]) << 16;
            float x;
            std::memcpy(&x, &bits, 4);
            r.v[i] = T(x);
        }
        return r;
    }
    void store_bf16(std::uint16_t* to) const {
        for (int i = 0; i < LANES; ++i) {
            float x = float(v[i]);
            std::uint32_t bits;
            std::memcpy(&bits, &x, 4);
            to[i] = (bits & 0x7fffffff) > 0x7f800000 ? std::uint16_t((bits >> 16) | 0x40)  // not a number stays none
                                                     : std::uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
        }
    }
    // 16 pairs of bfloat16, or one pair 16 times: the first of each, and the second
    static void load_pairs(const char* from, PlainLanes& first, PlainLanes& second) {
        std::uint32_t pairs[LANES], low[LANES], high[LANES];
        float x[LANES], y[LANES];
        std::memcpy(pairs, from, sizeof pairs);
        for (int i = 0; i < LANES; ++i) {
            low[i] = pairs[i] << 16;
            high[i] = pairs[i] & 0xffff0000u;
        }
        std::memcpy(x, low, sizeof x);
        std::memcpy(y, high, sizeof y);
        for (int i = 0; i < LANES; ++i) {
            first.v[i] = T(x[i]);
            second.v[i] = T(y[i]);
        }
    }
    static void store_pairs(PlainLanes first, PlainLanes second, std::uint16_t* to) {
        std::uint16_t a[LANES], b[LANES];
        first.store_bf16(a);
        second.store_bf16(b);
        for (int i = 0; i < LANES; ++i) {
            to[2 * i] = a[i];
            to[2 * i + 1] = b[i];
        }
    }
    // 16 rows of 64 bytes, `stride` bytes apart, to 16 columns: word j of row i becomes word i of row j
    static void transpose(const char* from, std::ptrdiff_t stride, char* to) {
        std::uint32_t word;
        for (int j = 0; j < LANES; ++j)
            for (int i = 0; i < LANES; ++i) {
                std::memcpy(&word, from + i * stride + 4 * j, 4);
                std::memcpy(to + 64 * j + 4 * i, &word, 4);
            }
    }
    static void set_pair(const char* from, PlainLanes& first, PlainLanes& second) {
        std::uint32_t pair, low, high;
        std::memcpy(&pair, from, 4);
        low = pair << 16;
        high = pair & 0xffff0000u;
        float x, y;
        std::memcpy(&x, &low, 4);
        std::memcpy(&y, &high, 4);
        first = set(T(x));
        second = set(T(y));
    }
    // round(v) + 128 as bytes, for |v| <= 127; the sum with 1.5 * 2^23 rounds to whole numbers, ties to even
    void store_offset(std::uint8_t* to) const {
        for (int i = 0; i < LANES; ++i) {
            float x = float(v[i]) + 12582912.0f;
            std::uint32_t bits;
            std::memcpy(&bits, &x, 4);
            to[i] = std::uint8_t(bits ^ 0x80);
        }
    }
    T sum() const {  // in a tree, so that every level adds in the same order
        T part[LANES];
        for (int i = 0; i < LANES; ++i) part[i] = v[i];
        for (int half = LANES / 2; half; half /= 2)
            for (int i = 0; i < half; ++i) part[i] += part[i + half];
        return part[0];
    }
    T largest() const { T m = v[0]; for (T one : v) m = one > m ? one : m; return m; }
};

#define ESCRIBA_EACH(expression) \
    PlainLanes<R> r; \
    for (int i = 0; i < LANES; ++i) r.v[i] = (expression); \
    return r;
template <class R> inline PlainLanes<R> operator+(PlainLanes<R> a, PlainLanes<R> b) { ESCRIBA_EACH(a.v[i] + b.v[i]) }
template <class R> inline PlainLanes<R> operator-(PlainLanes<R> a, PlainLanes<R> b) { ESCRIBA_EACH(a.v[i] - b.v[i]) }
template <class R> inline PlainLanes<R> operator*(PlainLanes<R> a, PlainLanes<R> b) { ESCRIBA_EACH(a.v[i] * b.v[i]) }
template <class R> inline PlainLanes<R> operator/(PlainLanes<R> a, PlainLanes<R> b) { ESCRIBA_EACH(a.v[i] / b.v[i]) }
template <class R> inline PlainLanes<R> fma(PlainLanes<R> a, PlainLanes<R> b, PlainLanes<R> c) { ESCRIBA_EACH(a.v[i] * b.v[i] + c.v[i]) }
template <class R> inline PlainLanes<R> max(PlainLanes<R> a, PlainLanes<R> b) { ESCRIBA_EACH(a.v[i] > b.v[i] ? a.v[i] : b.v[i]) }
template <class R> inline PlainLanes<R> min(PlainLanes<R> a, PlainLanes<R> b) { ESCRIBA_EACH(a.v[i] < b.v[i] ? a.v[i] : b.v[i]) }
template <class R> inline PlainLanes<R> abs(PlainLanes<R> a) { ESCRIBA_EACH(a.v[i] < 0 ? -a.v[i] : a.v[i]) }
template <class R> inline PlainLanes<R> sqrt(PlainLanes<R> a) { ESCRIBA_EACH(std::sqrt(a.v[i])) }
template <class R> inline PlainLanes<R> exp(PlainLanes<R> a) { ESCRIBA_EACH(std::exp(a.v[i])) }
#undef ESCRIBA_EACH

#include "exponential.inl"
// In float32 as the other levels have it, in loops that compilers turn into vectors; 2^n is two factors, so that it rounds once.
inline PlainLanes<float> exp(PlainLanes<float> a) {
    PlainLanes<float> n, r, one, two;
    for (int i = 0; i < LANES; ++i) {
        float x = a.v[i] < EXP_LEAST ? EXP_LEAST : a.v[i];  // written so that what is not a number stays none
        x = x > EXP_MOST ? EXP_MOST : x;
        const float sum = x * EXP_LOG2_E + 12582912.0f;
        std::int32_t bits;
        std::memcpy(&bits, &sum, 4);
        const std::int32_t whole = bits - 0x4b400000, half = whole >> 1;
        const std::uint32_t first = std::uint32_t(half + 127) << 23, second = std::uint32_t(whole - half + 127) << 23;
        std::memcpy(&one.v[i], &first, 4);
        std::memcpy(&two.v[i], &second, 4);
        n.v[i] = sum - 12582912.0f;
        r.v[i] = (x - n.v[i] * EXP_LN2_HIGH) - n.v[i] * EXP_LN2_LOW;
    }
    return exp_near_zero(r) * one * two;
}

}  // namespace escriba

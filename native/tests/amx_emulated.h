// The instructions of AMX that level_amx.cpp uses, in plain C++, so that its code can be tested on processors without them.
// Written from Intel's Instruction Set Extensions reference, 319433. A tile that was not configured, or is used after release, ends the
// program.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace amx_emulated {

struct State {
    bool ready = false;
    int rows[8], bytes[8];
    unsigned char tile[8][16][64];
};
inline State& state() {
    static thread_local State one;
    return one;
}
inline void demand(bool good, const char* what) {
    if (good) return;
    std::fprintf(stderr, "AMX emulated: %s\n", what);
    std::abort();
}
inline void load_config(const void* from) {
    const auto* bytes = static_cast<const unsigned char*>(from);
    State& s = state();
    demand(bytes[0] == 1, "palette 1 is the one that there is");
    for (int t = 0; t < 8; ++t) {
        s.bytes[t] = bytes[16 + 2 * t] + 256 * bytes[17 + 2 * t];
        s.rows[t] = bytes[48 + t];
        demand(s.bytes[t] <= 64 && s.rows[t] <= 16, "a tile is at most 16 rows of 64 bytes");
    }
    std::memset(s.tile, 0, sizeof s.tile);
    s.ready = true;
}
inline void release() { state().ready = false; }
inline State& with(int a, int b, int c) {
    State& s = state();
    demand(s.ready, "no configuration is loaded");
    for (int t : {a, b, c}) demand(s.rows[t] > 0 && s.bytes[t] > 0, "a tile was not configured");
    return s;
}
inline void zero(int t) { std::memset(with(t, t, t).tile[t], 0, 1024); }
inline void load(int t, const void* from, std::ptrdiff_t stride) {
    State& s = with(t, t, t);
    for (int r = 0; r < s.rows[t]; ++r) std::memcpy(s.tile[t][r], static_cast<const char*>(from) + r * stride, s.bytes[t]);
}
inline void store(int t, void* to, std::ptrdiff_t stride) {
    State& s = with(t, t, t);
    for (int r = 0; r < s.rows[t]; ++r) std::memcpy(static_cast<char*>(to) + r * stride, s.tile[t][r], s.bytes[t]);
}
inline float widened(const unsigned char* from) {
    std::uint16_t half;
    std::memcpy(&half, from, 2);
    const std::uint32_t bits = std::uint32_t(half) << 16;
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}
template <class Sum, int SIZE, class Term>
inline void multiply(int c, int a, int b, Term term) {
    State& s = with(c, a, b);
    demand(c != a && c != b && a != b, "three tiles that differ");
    for (int m = 0; m < s.rows[c]; ++m)
        for (int k = 0; k < s.bytes[a] / 4; ++k)
            for (int n = 0; n < s.bytes[c] / 4; ++n) {
                Sum sum;
                std::memcpy(&sum, s.tile[c][m] + 4 * n, 4);
                for (int i = 0; i < 4; i += SIZE) sum += term(s.tile[a][m] + 4 * k + i, s.tile[b][k] + 4 * n + i);
                std::memcpy(s.tile[c][m] + 4 * n, &sum, 4);
            }
}
inline void dpbf16ps(int c, int a, int b) {
    multiply<float, 2>(c, a, b, [](const unsigned char* x, const unsigned char* w) { return widened(x) * widened(w); });
}
inline void dpbusd(int c, int a, int b) {
    multiply<std::int32_t, 1>(c, a, b, [](const unsigned char* x, const unsigned char* w) {
        return int(*x) * int(static_cast<signed char>(*w));
    });
}

}  // namespace amx_emulated

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#undef _tile_dpbusd
#define _tile_loadconfig(from) amx_emulated::load_config(from)
#define _tile_release() amx_emulated::release()
#define _tile_zero(t) amx_emulated::zero(t)
#define _tile_loadd(t, from, stride) amx_emulated::load(t, from, stride)
#define _tile_stored(t, to, stride) amx_emulated::store(t, to, stride)
#define _tile_dpbf16ps(c, a, b) amx_emulated::dpbf16ps(c, a, b)
#define _tile_dpbusd(c, a, b) amx_emulated::dpbusd(c, a, b)

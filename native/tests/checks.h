// What the test programs share: counting what failed, numbers drawn by chance, and the levels to test.
#pragma once
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "../kernels.h"

namespace escriba {
const Kernels& kernels_amx();
}

inline int& failures() {
    static int count = 0;
    return count;
}

// Says what was wrong, at most 20 times.
inline bool check(bool good, const char* format, ...) {
    if (good || ++failures() > 20) return good;
    va_list arguments;
    va_start(arguments, format);
    std::printf("FAILED ");
    std::vprintf(format, arguments);
    std::printf("\n");
    va_end(arguments);
    return false;
}

struct Chance {
    std::uint64_t state;
    explicit Chance(std::uint64_t seed) : state(seed * 0x9e3779b97f4a7c15u + 1) {}
    std::uint32_t bits() {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return std::uint32_t(state >> 32);
    }
    int below(int n) { return int(bits() % unsigned(n)); }
    float number() { return float(std::int32_t(bits())) / 2147483648.0f; }  // from -1 to 1
    std::vector<float> numbers(std::size_t n) {
        std::vector<float> x(n);
        for (float& one : x) one = number();
        return x;
    }
};

inline float float_of(std::uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}
inline std::uint32_t bits_of(float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}
inline float widened(std::uint16_t half) { return float_of(std::uint32_t(half) << 16); }

// Calls test(kernels) for every level that this processor has; AMX is emulated where the program was built so.
template <class Test>
void on_each_level(Test test) {
    using namespace escriba;
    static const char* const NAMES[] = {"plain", "avx2", "avx512", "avx512_bf16", "amx"};
    for (int level = 0; level <= int(Level::AMX); ++level) {
        const int before = failures();
#ifdef ESCRIBA_EMULATED_AMX
        const bool emulated = level == int(Level::AMX) && has_level(Level::AVX512_BF16);
        const bool there = emulated || (level < int(Level::AMX) && has_level(Level(level)));
#else
        const bool emulated = false, there = has_level(Level(level));
#endif
        if (!there) {
            std::printf("%s: skipped, this processor or this build has no such level\n", NAMES[level]);
            continue;
        }
#ifdef ESCRIBA_EMULATED_AMX
        test(emulated ? kernels_amx() : kernels(Level(level)));
#else
        test(kernels(Level(level)));
#endif
        std::printf("%s%s: %s\n", NAMES[level], emulated ? " (emulated)" : "", failures() == before ? "good" : "failed");
        std::fflush(stdout);
    }
}

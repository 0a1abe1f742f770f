// Which levels were built, which of them this processor and this system allow, and their tables.
//
// What builds this file says HAVE_AVX2, HAVE_AVX512, HAVE_AVX512_BF16 and HAVE_AMX for the levels that the compiler could build.
#include "export.h"
#include "kernels.h"

#if defined(HAVE_AVX2) || defined(HAVE_AVX512) || defined(HAVE_AVX512_BF16) || defined(HAVE_AMX)
#define ESCRIBA_LEVELS_OF_X86
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#include <immintrin.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace escriba {
const Kernels& kernels_plain();
#ifdef HAVE_AVX2
const Kernels& kernels_avx2();
#endif
#ifdef HAVE_AVX512
const Kernels& kernels_avx512();
#endif
#ifdef HAVE_AVX512_BF16
const Kernels& kernels_avx512_bf16();
#endif
#ifdef HAVE_AMX
const Kernels& kernels_amx();
#endif

namespace {

constexpr int LEVELS = 5;

constexpr bool BUILT[LEVELS] = {
    true,
#ifdef HAVE_AVX2
    true,
#else
    false,
#endif
#ifdef HAVE_AVX512
    true,
#else
    false,
#endif
#ifdef HAVE_AVX512_BF16
    true,
#else
    false,
#endif
#ifdef HAVE_AMX
    true,
#else
    false,
#endif
};

#ifdef ESCRIBA_LEVELS_OF_X86

struct Leaf { unsigned eax, ebx, ecx, edx; };

Leaf cpuid(unsigned leaf, unsigned part) {  // zeros where the processor has no such leaf
    Leaf r{0, 0, 0, 0};
#if defined(_MSC_VER)
    int most[4], got[4];
    __cpuidex(most, 0, 0);
    if (unsigned(most[0]) < leaf) return r;
    __cpuidex(got, int(leaf), int(part));
    r = Leaf{unsigned(got[0]), unsigned(got[1]), unsigned(got[2]), unsigned(got[3])};
#else
    __get_cpuid_count(leaf, part, &r.eax, &r.ebx, &r.ecx, &r.edx);
#endif
    return r;
}

bool all(unsigned long long value, unsigned long long bits) { return (value & bits) == bits; }
constexpr unsigned long long bit(int number) { return 1ull << number; }

// Linux lends the tiles of AMX only to a process that asks; its threads, and what it forks, have them too.
bool tiles_allowed() {
#if defined(__linux__) && defined(SYS_arch_prctl)
    constexpr int REQUEST = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
#else
    return true;  // the system's word in XCR0 was enough
#endif
}

// The highest level of this processor: each has what the ones below it have. Bits by Intel's manual, volume 2A, CPUID, and volume 1, 13.
Level level_of_processor() {
    const Leaf one = cpuid(1, 0), seven = cpuid(7, 0);
    if (!all(one.ecx, bit(27))) return Level::PLAIN;  // OSXSAVE: the system tells which registers it saves
    const unsigned long long saved = _xgetbv(0);
    if (!all(saved, 0x6) || !all(one.ecx, bit(12) | bit(28) | bit(29)) || !all(seven.ebx, bit(5)))  // FMA, AVX, F16C, AVX2
        return Level::PLAIN;
    if (!all(saved, 0xe6) || !all(seven.ebx, bit(16) | bit(17) | bit(30) | bit(31)) || !all(seven.ecx, bit(11)))  // F, DQ, BW, VL, VNNI
        return Level::AVX2;
    if (!all(cpuid(7, 1).eax, bit(5)) || cpuid(7, 0).eax < 1) return Level::AVX512;  // AVX512_BF16
    if (!all(saved, bit(17) | bit(18)) || !all(seven.edx, bit(22) | bit(24) | bit(25))) return Level::AVX512_BF16;  // BF16, TILE, INT8
    return tiles_allowed() ? Level::AMX : Level::AVX512_BF16;
}

#else

Level level_of_processor() { return Level::PLAIN; }

#endif

Level highest() {
    static const Level level = level_of_processor();
    return level;
}

}  // namespace

bool has_level(Level level) {
    const int number = int(level);
    return number >= 0 && number < LEVELS && BUILT[number] && (number == 0 || number <= int(highest()));
}

Level best_level() {
    for (int number = LEVELS - 1; number > 0; --number)
        if (has_level(Level(number))) return Level(number);
    return Level::PLAIN;
}

const Kernels& kernels(Level level) {
    if (has_level(level)) switch (level) {
#ifdef HAVE_AVX2
        case Level::AVX2: return kernels_avx2();
#endif
#ifdef HAVE_AVX512
        case Level::AVX512: return kernels_avx512();
#endif
#ifdef HAVE_AVX512_BF16
        case Level::AVX512_BF16: return kernels_avx512_bf16();
#endif
#ifdef HAVE_AMX
        case Level::AMX: return kernels_amx();
#endif
        default: break;
    }
    return kernels_plain();
}
}  // namespace escriba

// For src/escriba/_native/__init__.py.
ESCRIBA_API int escriba_interface() { return ESCRIBA_INTERFACE; }
ESCRIBA_API int escriba_built(int level) { return level >= 0 && level < escriba::LEVELS && escriba::BUILT[level]; }
ESCRIBA_API int escriba_has_level(int level) { return escriba::has_level(escriba::Level(level)); }

// The level of processors with AVX-512 and its products of bfloat16: servers since 2020, Zen 4 and later.
#include <immintrin.h>

#include <cstring>

#include "kernels.h"

#define ESCRIBA_BF16_INSTRUCTIONS

namespace escriba { namespace avx512_bf16 {
#include "exponential.inl"
#include "vec_avx512.h"
using V = Lanes;
#include "formulas.inl"
#include "products.inl"
#include "integers.inl"
#include "methods_avx512.h"
#include "entries_of_level.inl"
} }  // namespace escriba::avx512_bf16

namespace escriba {
const Kernels& kernels_avx512_bf16() {
    static const Kernels table = avx512_bf16::table_of_level("avx512_bf16");
    return table;
}
}  // namespace escriba

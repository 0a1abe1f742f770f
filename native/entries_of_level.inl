// The table of a level, from the functions of its namespace, its vector V and its methods of products F32, BF16 and INT8; included last.
#include "packing.inl"
#ifndef ESCRIBA_PRODUCTS_ONLY  // as native/tests builds it, since all takes minutes under sanitizers
#include "engine_cells.inl"
#include "train_block.inl"
#include "train_classic.inl"
#endif

inline void product_f32(const float* weights, const Product& p) { product_by(F32{}, weights, p); }
inline void product_bf16(const std::uint16_t* weights, const Product& p) { product_by(BF16{}, weights, p); }
inline void product_of_packed(const std::uint16_t* weights, const Product& p) { product_by(PackedX<BF16>{}, weights, p); }
inline void product_int8(const std::int8_t* weights, const float* scales, const std::int32_t* sums, const Product& p) {
    product_by(INT8{scales, sums}, weights, p);
}

inline Kernels table_of_level(const char* name) {
    Kernels k{};
    k.name = name;
    k.product_f32 = product_f32;
    k.product_bf16 = product_bf16;
    k.product_of_packed = product_of_packed;
    k.product_int8 = product_int8;
    k.to_bf16 = to_bf16;
    k.from_bf16 = from_bf16;
    k.quantize = quantize;
    k.pack_f32 = pack_matrix<float, float>;
    k.pack_bf16 = pack_matrix<float, std::uint16_t>;
    k.pack_halves = pack_matrix<std::uint16_t, std::uint16_t>;
#ifndef ESCRIBA_PRODUCTS_ONLY
    k.engine = engine_kernels<V>();
    k.block = block_kernels<V>();
    k.classic_forward = classic_forward<V>;
    k.classic_backward = classic_backward<V>;
#endif
    return k;
}

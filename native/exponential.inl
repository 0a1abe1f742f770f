// What the levels' exp have in common; included by every level that has its own, before its vector.
// exp(x) = 2^n exp(r), with n the nearest whole number to x / log 2 and r = x - n log 2, so |r| <= 0.35.
constexpr float EXP_MOST = 89.0f, EXP_LEAST = -104.5f;  // beyond these: infinity and 0
constexpr float EXP_LOG2_E = 1.44269504f;
constexpr float EXP_LN2_HIGH = 0.693359375f, EXP_LN2_LOW = -2.12194440e-4f;  // the first in so few bits that n times it is exact

template <class F>
inline F exp_near_zero(F r) {  // the polynomial of Cephes
    F sum = F::set(1.9875691500e-4f);
    sum = fma(sum, r, F::set(1.3981999507e-3f));
    sum = fma(sum, r, F::set(8.3334519073e-3f));
    sum = fma(sum, r, F::set(4.1665795894e-2f));
    sum = fma(sum, r, F::set(1.6666665459e-1f));
    sum = fma(sum, r, F::set(5.0000001201e-1f));
    return fma(sum, r * r, r) + F::set(1);
}

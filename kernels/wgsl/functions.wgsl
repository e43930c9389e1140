// functions.wgsl - what elementwise expressions call: src/gpu/expression.c copies each function
// that an expression needs, and those it calls, in front of it. Names begin with expr_.
//
// WGSL lets a compiler assume that there is no NaN and no infinity, and promises little of its own
// functions' accuracy (sin: 2^-11). So NaN is told by its bits, arguments of exp stay where it is
// finite, and the rest is polynomials: those of kernels/vec_math.h, where their errors are named.

fn expr_is_nan(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}
fn expr_is_inf(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) == 0x7f800000u;
}
// A call is no constant expression, in which NaN and infinities are errors.
fn expr_bits(bits: u32) -> f32 {
  return bitcast<f32>(bits);
}
// r, but NaN where x is
fn expr_spread(x: f32, r: f32) -> f32 {
  return select(r, x, expr_is_nan(x));
}
// r >= 0 with the sign of x
fn expr_copysign(r: f32, x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(r) | (bitcast<u32>(x) & 0x80000000u));
}

fn expr_min(a: f32, b: f32) -> f32 {
  return select(b, a, a < b || expr_is_nan(a));
}
fn expr_max(a: f32, b: f32) -> f32 {
  return select(b, a, a > b || expr_is_nan(a));
}
fn expr_sign(x: f32) -> f32 {
  return expr_spread(x, select(select(0.0, -1.0, x < 0.0), 1.0, x > 0.0));
}

// ---- remainders: exact, by long division of the significands ----

fn expr_fmod(x: f32, y: f32) -> f32 {
  let sign = bitcast<u32>(x) & 0x80000000u;
  var a = bitcast<u32>(x) & 0x7fffffffu;
  var b = bitcast<u32>(y) & 0x7fffffffu;
  if (b == 0u || b > 0x7f800000u || a >= 0x7f800000u) { return expr_bits(0x7fc00000u); }
  if (a < b) { return x; }
  var ea = max(a >> 23u, 1u);
  let eb = max(b >> 23u, 1u);
  a = select(a, (a & 0x7fffffu) | 0x800000u, a >= 0x800000u);
  b = select(b, (b & 0x7fffffu) | 0x800000u, b >= 0x800000u);
  a = a % b;
  while (ea > eb) { // 8 bits at a time: a < 2^24
    let step = min(ea - eb, 8u);
    a = (a << step) % b;
    ea -= step;
  }
  let up = select(0u, min(countLeadingZeros(a) - 8u, ea - 1u), a != 0u);
  a = a << up;
  a = select(a, (a & 0x7fffffu) | ((ea - up) << 23u), a >= 0x800000u);
  return bitcast<f32>(a | sign);
}
// the sign of the divisor
fn expr_mod(x: f32, y: f32) -> f32 {
  let r = expr_fmod(x, y);
  if (r == 0.0) { return expr_copysign(0.0, y); }
  return select(r, r + y, (r < 0.0) != (y < 0.0));
}
fn expr_mod_i32(a: i32, b: i32) -> i32 {
  let r = a % b;
  return select(r, r + b, r != 0 && (r < 0) != (b < 0));
}

// ---- powers ----

fn expr_pow_u32(a: u32, n: u32) -> u32 {
  var base = a;
  var exponent = n;
  var product = 1u;
  while (exponent != 0u) {
    if ((exponent & 1u) != 0u) { product *= base; }
    base *= base;
    exponent = exponent >> 1u;
  }
  return product;
}
// 1 / a^|n| truncated, where n is negative
fn expr_pow_i32(a: i32, n: i32) -> i32 {
  if (n >= 0) { return i32(expr_pow_u32(u32(a), u32(n))); }
  if (a == -1) { return select(1, -1, (n & 1) != 0); }
  return select(0, 1, a == 1);
}
// a >= 0
fn expr_pow_positive(a: f32, y: f32) -> f32 {
  let size = abs(y);
  if (size <= 64.0 && floor(y) == y) {
    var base = a;
    var product = 1.0;
    for (var n = u32(size); n != 0u; n = n >> 1u) {
      if ((n & 1u) != 0u) { product *= base; }
      base *= base;
    }
    return select(product, 1.0 / product, y < 0.0);
  }
  let grows = (a > 1.0) == (y > 0.0);
  if (a == 0.0 || expr_is_inf(a) || expr_is_inf(y)) {
    return select(0.0, expr_bits(0x7f800000u), grows);
  }
  return exp2(y * expr_log(a) * 1.44269504088896341);
}
// special cases as pow of C17 F.10.4.4
fn expr_pow(x: f32, y: f32) -> f32 {
  if (y == 0.0 || x == 1.0) { return 1.0; }
  if (expr_is_nan(x) || expr_is_nan(y)) { return expr_bits(0x7fc00000u); }
  let a = abs(x);
  let whole = floor(y) == y;
  if (x < 0.0 && !whole && !expr_is_inf(x)) { return expr_bits(0x7fc00000u); }
  if (a == 1.0) { // -1
    return select(1.0, -1.0, abs(y) < 16777216.0 && (i32(y) & 1) != 0);
  }
  let r = expr_pow_positive(a, y);
  let odd = whole && abs(y) < 16777216.0 && (i32(y) & 1) != 0;
  return select(r, expr_copysign(r, x), odd);
}

// ---- exponentials ----

fn expr_exp(x: f32) -> f32 {
  let r = exp(clamp(x, -110.0, 88.7));
  return expr_spread(x, select(r, expr_bits(0x7f800000u), x > 88.72283));
}
fn expr_sinh(x: f32) -> f32 {
  let a = abs(x);
  let z = x * x;
  let p = ((2.806280258e-6 * z + 0.0001983810197) * z + 0.008333339676) * z + 0.1666666665;
  let e = expr_exp(a - 0.69314718056);
  return select(expr_copysign(e - 0.25 / e, x), x * z * p + x, a < 1.0);
}
fn expr_cosh(x: f32) -> f32 {
  let e = expr_exp(abs(x) - 0.69314718056);
  return e + 0.25 / e;
}
fn expr_tanh(x: f32) -> f32 {
  let a = min(abs(x), 10.0);
  let z = a * a;
  let p = (((1.3319102152093449e-8 * z + 2.0583506265880193e-5) * z + 0.0034940362176671454) * z +
           0.1337971938225545) * z + 0.9999999790155285;
  let q = (((7.762032752486429e-7 * z + 0.0003283095453359558) * z + 0.025871079649899067) * z +
           0.46713034624246785) * z + 1.0;
  return expr_spread(x, expr_copysign(min(a * p / q, 1.0), x));
}
fn expr_erf(x: f32) -> f32 {
  let a = min(abs(x), 4.2);
  let z = a * a;
  let p = ((((2.0419588921947092e-6 * z + 0.00028480840038858356) * z + 0.003779628895945894) * z +
            0.05279035019404881) * z + 0.1907843705849487) * z + 1.1283791453639591;
  let q = ((((3.800393983311406e-5 * z + 0.001165216166119799) * z + 0.014997479402260804) * z +
            0.11425773817256901) * z + 0.5024109658994134) * z + 1.0;
  return expr_spread(x, expr_copysign(min(a * p / q, 1.0), x));
}
fn expr_sigmoid(x: f32) -> f32 {
  return expr_spread(x, 1.0 / (1.0 + exp(clamp(-x, -88.0, 88.0))));
}
fn expr_silu(x: f32) -> f32 {
  return x / (1.0 + exp(clamp(-x, -88.0, 88.0)));
}
fn expr_gelu_erf(x: f32) -> f32 {
  return 0.5 * x * (1.0 + expr_erf(x * 0.70710678118654752));
}
fn expr_gelu_tanh(x: f32) -> f32 {
  let t = x * (-0.0713548162726 * x * x - 1.59576912160573);
  return x / (1.0 + exp(clamp(t, -88.0, 88.0)));
}

// ---- logarithms ----

// log(2^e (1 + f)) for sqrt(1/2) <= 1 + f < sqrt(2)
fn expr_log_parts(e: f32, f: f32) -> f32 {
  let p = (((((((0.06971611471 * f - 0.1147973385) * f + 0.1168541992) * f - 0.1242568733) * f +
              0.1424905765) * f - 0.1666780232) * f + 0.2000071575) * f - 0.2499999696) * f +
          0.3333333118;
  let z = f * f;
  let low = (-2.12194440054690583e-4 * e + p * z * f) - z * 0.5;
  return e * 0.693359375 + (low + f);
}
fn expr_log(x: f32) -> f32 {
  let tiny = (bitcast<u32>(x) & 0x7f800000u) == 0u;
  let bits = bitcast<i32>(select(x, x * 8388608.0, tiny));
  let n = (bits - 0x3f3504f3) >> 23u;
  let r = expr_log_parts(f32(n) - select(0.0, 23.0, tiny), bitcast<f32>(bits - (n << 23u)) - 1.0);
  if (x > 0.0) { return select(r, x, expr_is_inf(x)); }
  return expr_bits(select(0x7fc00000u, 0xff800000u, x == 0.0));
}
// log(1 + u), u > -1: near 0 not by way of 1 + u, which would be rounded
fn expr_log1p(u: f32) -> f32 {
  if (u > -0.29 && u < 0.41) { return expr_log_parts(0.0, u); }
  return expr_log(1.0 + u);
}
fn expr_softplus(x: f32) -> f32 {
  return expr_spread(x, max(x, 0.0) + expr_log1p(exp(-min(abs(x), 88.0))));
}
// Above 2^28 the square would overflow, and the result is log(2 a) to the last bit.
fn expr_asinh(x: f32) -> f32 {
  let a = abs(x);
  let b = min(a, 268435456.0);
  let big = a > 268435456.0;
  let u = select(b + b * b / (1.0 + sqrt(b * b + 1.0)), a, big);
  return expr_spread(x, expr_copysign(expr_log1p(u) + select(0.0, 0.69314718056, big), x));
}
fn expr_acosh(x: f32) -> f32 {
  let t = x - 1.0;
  let b = clamp(t, 0.0, 268435456.0);
  let big = t > 268435456.0;
  let u = select(b + sqrt(b * (b + 2.0)), t, big);
  let r = expr_log1p(u) + select(0.0, 0.69314718056, big);
  return select(expr_bits(0x7fc00000u), r, x >= 1.0);
}
fn expr_atanh(x: f32) -> f32 {
  let a = abs(x);
  return expr_copysign(0.5 * expr_log1p(2.0 * a / (1.0 - a)), x);
}

// ---- trigonometry ----

// x = n pi/2 + r, |r| <= pi/4: pi/2 in parts of 8 bits, times which n < 2^16 is exact. The error is
// 2^-24 there, and grows with |x| beyond 100000.
fn expr_sine(x: f32, quarters: i32) -> f32 {
  if ((bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u) { return expr_bits(0x7fc00000u); }
  let n = round(x * 0.63661977236758134);
  var r = x - n * 1.5703125;
  r = r - n * 0.0004825592041015625;
  r = r - n * 1.2665987014770508e-6;
  r = r - n * 9.920935184482005e-10;
  let quadrant = i32(n) + quarters;
  let z = r * r;
  let s = z * r * ((-0.000195876391 * z + 0.008332747105) * z - 0.1666666466) + r;
  let c = z * z * ((2.454768977e-5 * z - 0.001388830187) * z + 0.04166666465) + (1.0 - z * 0.5);
  let y = select(s, c, (quadrant & 1) != 0);
  return select(y, -y, (quadrant & 2) != 0);
}
fn expr_sin(x: f32) -> f32 {
  return expr_sine(x, 0);
}
fn expr_cos(x: f32) -> f32 {
  return expr_sine(x, 1);
}
fn expr_tan(x: f32) -> f32 {
  return expr_sine(x, 0) / expr_sine(x, 1);
}
// Arguments above tan(pi/8) are turned by pi/4 or pi/2.
fn expr_atan(x: f32) -> f32 {
  let a = abs(x);
  let middle = a > 0.414213562;
  let far = a > 2.41421356;
  let above = select(select(a, a - 1.0, middle), -1.0, far);
  let below = select(select(1.0, a + 1.0, middle), a, far);
  let base = select(select(0.0, 0.78539816339744831, middle), 1.57079632679489662, far);
  let t = above / below;
  let z = t * t;
  let p = (((-0.06449835225 * z + 0.1074309967) * z - 0.1426389711) * z + 0.1999953879) * z -
          0.3333333175;
  return expr_copysign(base + (z * t * p + t), x);
}
// asin(a) for a <= 1/2, and half of acos(a) above, where acos(a) = 2 asin(sqrt((1 - a) / 2))
fn expr_asin_parts(a: f32) -> f32 {
  let high = a > 0.5;
  let z = select(a * a, (1.0 - a) * 0.5, high);
  let s = select(a, sqrt(z), high);
  let p = ((((0.0336908472 * z + 0.01714923836) * z + 0.03110066274) * z + 0.04459940153) * z +
           0.07500094543) * z + 0.1666666634;
  return z * s * p + s;
}
fn expr_asin(x: f32) -> f32 {
  let a = abs(x);
  if (a > 1.0) { return expr_bits(0x7fc00000u); }
  let p = expr_asin_parts(a);
  return expr_copysign(select(p, 1.57079632679489662 - 2.0 * p, a > 0.5), x);
}
fn expr_acos(x: f32) -> f32 {
  let a = abs(x);
  if (a > 1.0) { return expr_bits(0x7fc00000u); }
  let p = expr_asin_parts(a);
  let high = select(2.0 * p, 3.14159265358979324 - 2.0 * p, x < 0.0);
  return select(1.57079632679489662 - select(p, -p, x < 0.0), high, a > 0.5);
}

// ---- casts: out of range goes to the nearest, NaN to 0 ----

fn expr_to_i32(x: f32) -> i32 {
  let r = select(i32(clamp(x, -2147483648.0, 2147483520.0)), 2147483647, x >= 2147483648.0);
  return select(r, 0, expr_is_nan(x));
}
fn expr_to_u32(x: f32) -> u32 {
  let r = select(u32(clamp(x, 0.0, 4294967040.0)), 4294967295u, x >= 4294967296.0);
  return select(r, 0u, expr_is_nan(x));
}
// From 65520 on it is infinite: see pack_f16.wgsl.
fn expr_to_f16(x: f32) -> f32 {
  let size = bitcast<u32>(x) & 0x7fffffffu;
  if (size >= 0x477ff000u) { return expr_copysign(expr_bits(max(size, 0x7f800000u)), x); }
  return unpack2x16float(pack2x16float(vec2<f32>(x, 0.0))).x;
}

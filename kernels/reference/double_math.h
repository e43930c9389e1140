/* double_math.h - elementary functions in double precision without a libm, correct to about 1e-14:
 * what the reference kernels round to float. Arguments are floats widened, results have float's
 * range: doubles below 1e-300 are not dealt with. */
#ifndef WEFT_KERNELS_DOUBLE_MATH_H
#define WEFT_KERNELS_DOUBLE_MATH_H

double weft_double_exp(double x);
double weft_double_log(double x);
double weft_double_log1p(double x);
double weft_double_erf(double x);
double weft_double_erfc(double x);
double weft_double_sin(double x);
double weft_double_cos(double x);
double weft_double_atan(double x);
double weft_double_sinh(double x);
double weft_double_cosh(double x);
double weft_double_tanh(double x);
double weft_double_pow(double x, double y);

#endif

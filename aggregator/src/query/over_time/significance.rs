//! Whether a share is larger than chance makes it. Pure.

/// Terms of a tail that are added up: beyond them what is left is bounded by a geometric series.
const TERMS_MAX: u32 = 10_000;

/// Of `inside + rest` things, of which `of_inside + of_rest` are marked, `inside` are drawn: natural logarithm of the probability
/// that at least `of_inside` of these are marked. At most 0.
///
/// The upper tail of the hypergeometric distribution (Fisher's exact test, one-sided; Agresti, "Categorical Data Analysis", 3.5):
/// the first term by logarithms of factorials, each further one by its ratio to the one before. Below the mean it is taken as
/// certain: what is under-represented is not looked for.
///
/// Numbers are counts; above 2^53 they are rounded.
pub(crate) fn ln_tail(of_inside: f64, inside: f64, of_rest: f64, rest: f64) -> f64 {
    let (all, marked) = (inside + rest, of_inside + of_rest);
    if of_inside <= 0.0 || of_inside * all <= marked * inside {
        return 0.0;
    }
    let unmarked = all - marked;
    let first = ln_choose(marked, of_inside) + ln_choose(unmarked, inside - of_inside) - ln_choose(all, inside);
    let (mut sum, mut term, mut at) = (1.0, 1.0, of_inside);
    for _ in 0..TERMS_MAX {
        let ratio = (marked - at) * (inside - at) / ((at + 1.0) * (unmarked - inside + at + 1.0));
        term *= ratio;
        if term <= sum * 1e-12 {
            break;
        }
        sum += term;
        at += 1.0;
    }
    // Ratios fall, so what is left is at most that of a geometric series.
    let ratio = (marked - at) * (inside - at) / ((at + 1.0) * (unmarked - inside + at + 1.0));
    if term > sum * 1e-12 && ratio < 1.0 {
        sum += term * ratio / (1.0 - ratio);
    }
    (first + libm::log(sum)).min(0.0)
}

/// Logarithm of the number of ways to take `k` of `n`.
fn ln_choose(n: f64, k: f64) -> f64 {
    libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn choose(n: u64, k: u64) -> f64 {
        if k > n { 0.0 } else { (0..k).map(|i| (n - i) as f64 / (i + 1) as f64).product() }
    }

    /// The same by adding up every term.
    fn tail(of_inside: u64, inside: u64, of_rest: u64, rest: u64) -> f64 {
        let (all, marked) = (inside + rest, of_inside + of_rest);
        let ways = |k: u64| choose(marked, k) * choose(all - marked, inside - k);
        (of_inside..=inside.min(marked)).map(ways).sum::<f64>() / choose(all, inside)
    }

    proptest! {
        #[test]
        fn it_is_the_sum_of_all_terms(a in 0u64..40, more in 0u64..40, b in 0u64..40, others in 0u64..60) {
            let (inside, rest) = (a + more, b + others);
            prop_assume!(inside > 0 && rest > 0);
            let found = libm::exp(ln_tail(a as f64, inside as f64, b as f64, rest as f64));
            if a * (inside + rest) <= (a + b) * inside {
                prop_assert_eq!(found, 1.0);
            } else {
                let expected = tail(a, inside, b, rest);
                prop_assert!((found - expected).abs() <= 1e-9 * expected.max(1e-9), "{} {}", found, expected);
            }
        }

        #[test]
        fn it_is_a_probability_of_any_counts(a in 0u64..1 << 50, more in 0u64..1 << 50, b in 0u64..1 << 50, others in 0u64..1 << 50) {
            let ln = ln_tail(a as f64, (a + more) as f64, b as f64, (b + others) as f64);
            prop_assert!(ln <= 0.0, "{}", ln);
        }
    }

    #[test]
    fn fishers_tea_is_one_in_seventy() {
        assert!((libm::exp(ln_tail(4.0, 4.0, 0.0, 4.0)) - 1.0 / 70.0).abs() < 1e-12);
    }
}

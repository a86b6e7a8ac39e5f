//! The two primes of an RSA key, on integers of fixed width.
//!
//! The general-purpose integers of the `rsa` crate allocate for every step, and its primality test makes twenty rounds
//! on each prime; integers as wide as the prime and a Baillie-PSW test make a key in a third of the time.

use std::cell::RefCell;
use std::sync::LazyLock;

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Limb, NonZero, Odd, RandomMod, Reciprocal, Uint, UnsignedWithMontyForm, Word};
use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, is_prime, sieve_and_find};
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use rsa::BigUint;
use zeroize::{Zeroize, Zeroizing};

/// The public exponent: the smallest prime that FIPS 186-5 appendix A.1.1 allows, and the one that everybody uses.
pub const E: u32 = 65537;

/// Two primes for a modulus of `bits`, 2048, 3072 or 4096; `None` for any other size. They are searched for on two
/// threads of the current rayon pool, where there are two.
pub fn pair(bits: u16) -> Option<(BigUint, BigUint)> {
    match bits {
        2048 => Some(pair_of::<{ 1024 / Word::BITS as usize }>(2048)),
        3072 => Some(pair_of::<{ 1536 / Word::BITS as usize }>(3072)),
        4096 => Some(pair_of::<{ 2048 / Word::BITS as usize }>(4096)),
        _ => None,
    }
}

fn pair_of<const LIMBS: usize>(modulus_bits: u32) -> (BigUint, BigUint)
where
    Uint<LIMBS>: UnsignedWithMontyForm + RandomMod,
{
    let half = modulus_bits / 2;
    let (p, mut q) = rayon::join(|| prime::<LIMBS>(half), || prime::<LIMBS>(half));
    // FIPS 186-5 appendix A.1.1: |p - q| > 2^(nlen/2 - 100), or n could be factored from its square root.
    while distance(&p, &q).bits_vartime() <= half - 100 {
        q = prime(half);
    }
    (wide(&p), wide(&q))
}

/// A random prime `p` of exactly `bits`, with `gcd(p - 1, e) = 1`.
///
/// FIPS 186-5 appendix A.1.1 wants p >= sqrt(2) * 2^(bits - 1); both upper bits set say 1.5 times, so the product of
/// two such primes also has exactly twice the bits. As OpenSSL does, the search walks upwards from a random start.
fn prime<const LIMBS: usize>(bits: u32) -> Zeroizing<Uint<LIMBS>>
where
    Uint<LIMBS>: UnsignedWithMontyForm + RandomMod,
{
    // The kernel's source without a generator of our own in between: a prime asks it for one number.
    let mut rng = UnwrapErr(SysRng);
    let sieve = SmallFactorsSieveFactory::<Uint<LIMBS>>::new(Flavor::Any, bits, SetBits::TwoMsb)
        .expect("a prime of 1024 bits and more can be sieved");
    let wider = RefCell::new(WiderSieve::default());
    let found = sieve_and_find(&mut rng, sieve, |_, candidate| {
        // `e` is prime, so it shares a divisor with p - 1 only if it divides it.
        !wider.borrow_mut().divides(candidate)
            && passes_fermat(candidate)
            && is_prime(Flavor::Any, candidate)
            && remainder(candidate, E) != 1
    });
    Zeroizing::new(found.expect("the width fits the bits").expect("the sieve starts again until a prime is found"))
}

/// The primes that come after the 2,048 of crypto-primes' own sieve, up to this bound. They spare every sixth power,
/// and cost as much time as half of one.
const SIEVE: std::ops::Range<u32> = 17_864..131_072;
/// How far the search walks from where it began before residues are taken anew; it finds a prime within a twentieth.
const WINDOW: u64 = 1 << 14;

/// Three primes a division: their product fits a word.
static TRIPLES: LazyLock<Vec<(Reciprocal, [u64; 3])>> = LazyLock::new(|| {
    let mut composite = vec![false; SIEVE.end as usize];
    let mut primes = Vec::new();
    for n in 2..composite.len() {
        if !composite[n] {
            primes.push(n as u64);
            (n * n..composite.len()).step_by(n).for_each(|multiple| composite[multiple] = true);
        }
    }
    primes.retain(|prime| *prime >= u64::from(SIEVE.start));
    let triple = |primes: &[u64]| {
        let product = NonZero::new(Limb(primes.iter().product())).expect("primes are not zero");
        (Reciprocal::new(product), [primes[0], primes[1], primes[2]])
    };
    primes.chunks_exact(3).map(triple).collect()
});

/// Which of the numbers from the first candidate on are multiples of a prime in [`SIEVE`].
struct WiderSieve<const LIMBS: usize> {
    first: Option<Zeroizing<Uint<LIMBS>>>,
    multiples: Zeroizing<Vec<bool>>,
}

impl<const LIMBS: usize> Default for WiderSieve<LIMBS> {
    fn default() -> Self {
        WiderSieve { first: None, multiples: Zeroizing::default() }
    }
}

impl<const LIMBS: usize> WiderSieve<LIMBS> {
    fn divides(&mut self, candidate: &Uint<LIMBS>) -> bool {
        let walked = |first: &Uint<LIMBS>| {
            let (far, near) = (candidate.as_words(), first.as_words());
            let low = far[0].wrapping_sub(near[0]);
            // A carry into the second word begins anew; it comes once in 2^50 searches.
            (low < WINDOW && far[1..] == near[1..]).then_some(low as usize)
        };
        if let Some(distance) = self.first.as_deref().and_then(walked) {
            return self.multiples[distance];
        }
        let mut multiples = Zeroizing::new(vec![false; WINDOW as usize]);
        for (product, primes) in &*TRIPLES {
            let rest = candidate.rem_limb_with_reciprocal(product).0;
            for prime in primes {
                let next = (prime - rest % prime) % prime;
                (next..WINDOW).step_by(*prime as usize).for_each(|distance| multiples[distance as usize] = true);
            }
        }
        let divides = multiples[0];
        (self.first, self.multiples) = (Some(Zeroizing::new(*candidate)), multiples);
        divides
    }
}

/// Whether `2^(n - 1) = 1 (mod n)`: a screen that some thirty composites must pass through for each prime, and that is
/// a fifth faster than a general power, because multiplying by two is an addition. It decides nothing alone. Like the
/// sieve before it, it takes longer for some numbers than for others: keys are made where nobody can hold a stopwatch
/// to a single candidate.
fn passes_fermat<const LIMBS: usize>(candidate: &Uint<LIMBS>) -> bool {
    let Some(odd) = Odd::new(*candidate).into_option() else { return false };
    let params = FixedMontyParams::new_vartime(odd);
    let one = FixedMontyForm::one(&params);
    let exponent = Zeroizing::new(candidate.wrapping_sub(&Uint::ONE));
    let mut power = one;
    for word in exponent.as_words().iter().rev() {
        for bit in (0..Word::BITS).rev() {
            power = power.square();
            if (word >> bit) & 1 == 1 {
                power = power.double();
            }
        }
    }
    power == one
}

fn distance<const LIMBS: usize>(p: &Uint<LIMBS>, q: &Uint<LIMBS>) -> Zeroizing<Uint<LIMBS>> {
    Zeroizing::new(if p > q { p.wrapping_sub(q) } else { q.wrapping_sub(p) })
}

fn remainder<const LIMBS: usize>(number: &Uint<LIMBS>, by: u32) -> u32 {
    let by = u128::from(by);
    let rest = number.as_words().iter().rev().fold(0u128, |rest, &word| ((rest << Word::BITS) | word as u128) % by);
    rest as u32
}

fn wide<const LIMBS: usize>(number: &Uint<LIMBS>) -> BigUint {
    let mut bytes: Zeroizing<Vec<u8>> = Zeroizing::new(Vec::with_capacity(LIMBS * size_of::<Word>()));
    for word in number.as_words() {
        let mut octets = word.to_le_bytes();
        bytes.extend_from_slice(&octets);
        octets.zeroize();
    }
    BigUint::from_bytes_le(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_keeps_the_bounds_of_fips_186_5() {
        for _ in 0..3 {
            let (p, q) = pair(2048).unwrap();
            for prime in [&p, &q] {
                assert_eq!(prime.bits(), 1024);
                assert_eq!(prime.to_bytes_be()[0] & 0xc0, 0xc0, "both upper bits are set");
                assert_eq!(prime % BigUint::from(2u8), BigUint::from(1u8));
                assert_ne!(prime % BigUint::from(E), BigUint::from(1u8), "e does not divide p - 1");
            }
            let apart = if p > q { &p - &q } else { &q - &p };
            assert!(apart.bits() > 924);
            assert_eq!((&p * &q).bits(), 2048);
        }
        assert!(pair(1024).is_none());
        assert!(pair(2047).is_none());
    }

    #[test]
    fn the_screen_lets_every_prime_through_and_stops_composites() {
        let prime = prime::<16>(1024);
        assert!(passes_fermat(&*prime));
        assert!(!passes_fermat(&prime.wrapping_add(&Uint::from_u64(1))), "an even number");
        let product = Uint::<16>::from_u64(0xffff_fffb).wrapping_mul(&Uint::<16>::from_u64(0xffff_ffef));
        assert!(!passes_fermat(&product));
        assert!(passes_fermat(&Uint::<16>::from_u64(0xffff_fffb)));
    }

    #[test]
    fn the_wider_sieve_finds_the_multiples_of_its_primes_and_no_others() {
        let prime = prime::<16>(1024);
        assert!(!WiderSieve::default().divides(&*prime));
        let first = prime.wrapping_sub(&Uint::from_u64(4_000));
        let mut sieve = WiderSieve::default();
        let mut found = 0;
        for distance in 0..600 {
            let number = first.wrapping_add(&Uint::from_u64(distance));
            let has = |divisor: &u64| remainder(&number, *divisor as u32) == 0;
            let divides = TRIPLES.iter().flat_map(|(_, primes)| primes).any(has);
            assert_eq!(sieve.divides(&number), divides, "at {distance}");
            found += u32::from(divides);
        }
        assert!(found > 0);
        assert!(TRIPLES.iter().all(|(_, primes)| primes.iter().all(|prime| SIEVE.contains(&(*prime as u32)))));
    }

    #[test]
    fn the_remainder_by_the_exponent_is_right() {
        let number = Uint::<16>::from_u64(u64::MAX).wrapping_shl_vartime(700).wrapping_add(&Uint::from_u64(12345));
        assert_eq!(BigUint::from(remainder(&number, E)), wide(&number) % BigUint::from(E));
    }
}

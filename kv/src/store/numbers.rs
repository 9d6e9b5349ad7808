//! Numbers in commands and values, in the forms that Redis takes.

use num_bigint::{BigInt, BigUint, Sign};

use super::Fault;

/// A whole number in its one form: no sign but a minus, no zero before it, no blank.
pub fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_plain = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if is_plain { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// The same, or the error for it.
pub fn whole(text: &[u8]) -> Result<i64, Fault> {
    integer(text).ok_or_else(|| "value is not an integer or out of range".into())
}

/// A number with 64 significant bits, as those of Redis have on x86: `bits` times two to the
/// `power`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Float {
    bits: BigInt,
    power: i64,
}

/// How many significant bits a number has.
const BITS: u64 = 64;
/// Numbers above two to this power, or below its inverse, are not numbers for Redis either.
const POWER_MAX: i64 = 16_384;
/// The longest text that is read as a number.
const TEXT_MAX: usize = 5_000;

impl Float {
    /// Reads `-1.5e3` and the like.
    pub fn read(text: &[u8]) -> Option<Float> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= TEXT_MAX)?;
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (text, 0),
        };
        let is_negative = mantissa.starts_with('-');
        let mantissa = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
        let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{part}");
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let exponent = exponent.checked_sub(part.len() as i64)?;
        let digits = BigUint::parse_bytes(digits.as_bytes(), 10)?;
        if digits == BigUint::ZERO {
            return Some(Float { bits: BigInt::ZERO, power: 0 });
        }
        if exponent.abs() > POWER_MAX {
            return None;
        }
        let sign = if is_negative { Sign::Minus } else { Sign::Plus };
        let scale = BigUint::from(10_u32).pow(exponent.unsigned_abs() as u32);
        let float = if exponent >= 0 {
            Float { bits: BigInt::from_biguint(sign, digits * scale), power: 0 }
        } else {
            // Enough bits of the quotient, and one more that says whether anything is left.
            let shift = (scale.bits() + BITS + 2).saturating_sub(digits.bits());
            let shifted = digits << shift;
            let quotient = &shifted / &scale;
            let is_exact = &quotient * &scale == shifted;
            let quotient = (quotient << 1_u32) + u32::from(!is_exact);
            let power = -(i64::try_from(shift).ok()?) - 1;
            Float { bits: BigInt::from_biguint(sign, quotient), power }
        };
        float.rounded()
    }

    /// The sum, rounded to what such a number can be. None if it is too large.
    pub fn plus(&self, other: &Float) -> Option<Float> {
        let power = self.power.min(other.power);
        let shifted = |float: &Float| &float.bits << (float.power - power) as u64;
        Float { bits: shifted(self) + shifted(other), power }.rounded()
    }

    /// Rounds to the nearest, and to even in the middle.
    fn rounded(self) -> Option<Float> {
        let more = self.bits.bits().saturating_sub(BITS);
        let (bits, power) = (round(&self.bits, more), self.power + more as i64);
        let magnitude = bits.bits() as i64 + power;
        let is_number = bits == BigInt::ZERO || (-POWER_MAX..=POWER_MAX).contains(&magnitude);
        is_number.then_some(Float { bits, power })
    }

    /// With 17 digits behind the point, without the zeros at the end.
    pub fn write(&self) -> String {
        const DIGITS: u32 = 17;
        let scaled = &self.bits * BigInt::from(10_u64.pow(DIGITS));
        let scaled = match u64::try_from(self.power) {
            Ok(power) => scaled << power,
            Err(_) => round(&scaled, self.power.unsigned_abs()),
        };
        let sign = if scaled.sign() == Sign::Minus { "-" } else { "" };
        let digits = format!("{:0>18}", scaled.magnitude().to_string());
        let (whole, part) = digits.split_at(digits.len() - DIGITS as usize);
        let part = part.trim_end_matches('0');
        let point = if part.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{part}")
    }
}

/// Divides by two to the `power`; rounds to the nearest, and to even in the middle.
fn round(bits: &BigInt, power: u64) -> BigInt {
    if power == 0 {
        return bits.clone();
    }
    let magnitude = bits.magnitude();
    let mut quotient = magnitude >> power;
    let half = BigUint::from(1_u32) << (power - 1);
    let rest = magnitude - (&quotient << power);
    if rest > half || rest == half && quotient.bit(0) {
        quotient += 1_u32;
    }
    BigInt::from_biguint(bits.sign(), quotient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_has_one_form() {
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!([integer(b"0"), integer(b"10"), integer(b"-7")], [Some(0), Some(10), Some(-7)]);
        for text in ["", "-", "-0", "+1", "01", " 1", "1 ", "9223372036854775808", "1.0"] {
            assert_eq!(integer(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn sums_have_64_significant_bits() {
        let sum = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|text| Float::read(text.as_bytes()).unwrap());
            one.plus(&other).unwrap().write()
        };
        assert_eq!(sum("0.1", "0.2"), "0.3");
        assert_eq!(sum("5.0e3", "2.0e2"), "5200");
        assert_eq!(sum("10.5", "-10.5"), "0");
        // The answers of redis-server 7.0.15.
        assert_eq!(sum("1000.1", "0"), "1000.09999999999999998");
        assert_eq!(sum("-0.000000000000000001", "0"), "0");
        for text in ["", ".", "a", "1e", "1 ", " 1", "--1", "1e999999"] {
            assert_eq!(Float::read(text.as_bytes()), None, "{text:?}");
        }
    }
}

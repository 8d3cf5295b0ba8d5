//! Quantities as Kubernetes writes them, exact in thousandths.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Above this Kubernetes cuts a quantity off.
const MAX: u128 = i64::MAX as u128 * 1000;

/// A quantity in thousandths, rounded up as the scheduler does; none if it is not one or is negative.
pub(crate) fn milli(text: &str) -> Option<u128> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text
        .find(|char: char| !char.is_ascii_digit() && char != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mantissa: u128 = format!("{whole}{fraction}").parse().ok()?;
    let (binary, decimal) = multiplier(suffix)?;
    let decimal = decimal
        .checked_add(3)?
        .checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let power = 10_u128.checked_pow(decimal.unsigned_abs());
    if mantissa == 0 {
        return Some(0);
    }
    let scaled = mantissa.checked_mul(1 << binary);
    let milli = if decimal >= 0 {
        scaled
            .zip(power)
            .and_then(|(scaled, power)| scaled.checked_mul(power))
            .unwrap_or(MAX)
    } else {
        scaled
            .unwrap_or(u128::MAX)
            .div_ceil(power.unwrap_or(u128::MAX))
    };
    Some(milli.min(MAX))
}

/// The powers of two and ten that a suffix stands for.
fn multiplier(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "" => (0, 0),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        exponent => (0, exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

/// Thousandths as a quantity.
pub(crate) fn from_milli(milli: u128) -> Quantity {
    Quantity(if milli.is_multiple_of(1000) {
        (milli / 1000).to_string()
    } else {
        format!("{milli}m")
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{MAX, from_milli, milli};

    #[rstest]
    #[case("0", 0)]
    #[case("1", 1000)]
    #[case("+1", 1000)]
    #[case("0.1", 100)]
    #[case(".5", 500)]
    #[case("5.", 5000)]
    #[case("100m", 100)]
    #[case("100u", 1)]
    #[case("1n", 1)]
    #[case("1.5Gi", 1_610_612_736_000)]
    #[case("0.1Ki", 102_400)]
    #[case("1k", 1_000_000)]
    #[case("1E", 1_000_000_000_000_000_000_000)]
    #[case("1e3", 1_000_000)]
    #[case("1E+3", 1_000_000)]
    #[case("15e-1", 1500)]
    #[case("1e-99", 1)]
    #[case("0e99", 0)]
    #[case("8Ei", MAX)]
    #[case("1e99", MAX)]
    fn quantity_is_read_exactly_and_rounded_up(#[case] text: &str, #[case] expected: u128) {
        assert_eq!(milli(text), Some(expected));
    }

    #[rstest]
    fn text_that_kubernetes_refuses_is_no_quantity(
        #[values(
            "",
            ".",
            "m",
            "-1",
            "1 ",
            " 1",
            "1GB",
            "1mi",
            "1.2.3",
            "1e",
            "1e1.5",
            "--1",
            "+-1",
            "0x1",
            "1K",
            "1e99999999999"
        )]
        text: &str,
    ) {
        assert_eq!(milli(text), None);
    }

    #[test]
    fn quantity_is_written_as_it_is_read() {
        for text in ["0", "3", "1500m", "1073741824"] {
            assert_eq!(from_milli(milli(text).unwrap()).0, text);
        }
    }
}

//! Event names: one key per business event, however a source spells it.
//!
//! `Order Completed`, `order_completed`, `OrderCompleted` and `ecommerce.order-completed` have the
//! same key. Other words for the same thing (`Purchase`, `Placed Order`) are synonyms, kept as data
//! (`transforms/data/synonyms.json`). Rules of the guard, schemas and business keys match by the
//! canonical key, so they hold whatever style of names a team sends on.
//!
//! Not here: renaming, which is the business of the scripts.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Namespaces that sources put before a name; they say nothing.
const NAMESPACES: [&str; 2] = ["ecommerce", "commerce"];

static SYNONYMS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../transforms/data/synonyms.json")).unwrap_or_default()
});

/// The key of a name: words in lower case joined by `_`, without a leading namespace.
pub fn key(name: &str) -> String {
    let mut key = String::with_capacity(name.len() + 4);
    let mut words = words(name).into_iter().peekable();
    if let Some(first) = words.peek()
        && NAMESPACES.contains(&first.as_str())
        && name.contains(['.', ':', '/'])
    {
        words.next();
    }
    for word in words {
        if !key.is_empty() {
            key.push('_');
        }
        key.push_str(&word);
    }
    key
}

/// The canonical key of a name: its key, with the synonyms that Segue ships folded in.
pub fn canonical(name: &str) -> String {
    let key = key(name);
    SYNONYMS.get(&key).cloned().unwrap_or(key)
}

/// Splits a text into words in lower case, at whatever is no letter or digit and at changes of case:
/// `orderTotal`, `OrderTotal`, `ORDER_TOTAL` and `order-total` are all two words, `HTMLPage` too.
pub fn words(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut words = Vec::new();
    let mut word = String::new();
    for (at, &c) in chars.iter().enumerate() {
        if !c.is_alphanumeric() {
            flush(&mut words, &mut word);
            continue;
        }
        let before = at.checked_sub(1).map(|before| chars[before]);
        let after = chars.get(at + 1);
        let starts_word = c.is_uppercase()
            && before.is_some_and(|before| {
                before.is_lowercase()
                    || before.is_numeric()
                    || (before.is_uppercase() && after.is_some_and(|after| after.is_lowercase()))
            });
        if starts_word {
            flush(&mut words, &mut word);
        }
        word.extend(c.to_lowercase());
    }
    flush(&mut words, &mut word);
    words
}

fn flush(words: &mut Vec<String>, word: &mut String) {
    if !word.is_empty() {
        words.push(std::mem::take(word));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_business_event_has_one_key_however_it_is_spelt() {
        let spellings = [
            "Added to Cart",
            "add_to_cart",
            "AddToCart",
            "added_to_cart",
            "Add To Cart",
            "PRODUCT_ADDED",
            "productAdded",
            "ecommerce.product_added",
            "product added to cart",
            "  Product   Added ",
        ];
        for name in spellings {
            assert_eq!(canonical(name), "added_to_cart", "{name:?}");
        }
        assert_eq!(canonical("Purchase"), "order_completed");
        assert_eq!(canonical("Ordered Product"), "order_line_item");
        assert_eq!(canonical("E-commerce Visit"), "e_commerce_visit");
    }

    #[test]
    fn words_end_where_case_changes() {
        let table = [
            ("orderTotal", vec!["order", "total"]),
            ("HTMLPage", vec!["html", "page"]),
            ("ga4Event", vec!["ga4", "event"]),
            ("Größe XL", vec!["größe", "xl"]),
            ("", vec![]),
        ];
        for (text, expected) in table {
            assert_eq!(words(text), expected, "{text:?}");
        }
    }
}

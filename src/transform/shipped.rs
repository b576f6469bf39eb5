//! The transforms folder that Segue ships, inside the binary, so that it works anywhere.

/// Every file of the shipped folder: its path and its text. `segue init` writes these.
pub const FILES: &[(&str, &str)] = &[
    ("transforms.toml", include_str!("../../transforms/transforms.toml")),
    ("00_names.rhai", include_str!("../../transforms/00_names.rhai")),
    ("10_orders.rhai", include_str!("../../transforms/10_orders.rhai")),
    ("20_items.rhai", include_str!("../../transforms/20_items.rhai")),
    ("25_skus.rhai", include_str!("../../transforms/25_skus.rhai")),
    ("30_people.rhai", include_str!("../../transforms/30_people.rhai")),
    ("lib/commerce.rhai", include_str!("../../transforms/lib/commerce.rhai")),
    ("data/commerce_keys.json", include_str!("../../transforms/data/commerce_keys.json")),
    ("data/item_kinds.json", include_str!("../../transforms/data/item_kinds.json")),
    ("data/item_keys.json", include_str!("../../transforms/data/item_keys.json")),
    ("data/order_keys.json", include_str!("../../transforms/data/order_keys.json")),
    ("data/order_kinds.json", include_str!("../../transforms/data/order_kinds.json")),
    ("data/owners.csv", include_str!("../../transforms/data/owners.csv")),
    ("data/people_keys.json", include_str!("../../transforms/data/people_keys.json")),
    ("data/product_keys.json", include_str!("../../transforms/data/product_keys.json")),
    ("data/spellings.json", include_str!("../../transforms/data/spellings.json")),
    ("data/synonyms.json", include_str!("../../transforms/data/synonyms.json")),
    ("data/taxonomy.csv", include_str!("../../transforms/data/taxonomy.csv")),
    ("schemas/added_to_cart.json", include_str!("../../transforms/schemas/added_to_cart.json")),
    (
        "schemas/checkout_started.json",
        include_str!("../../transforms/schemas/checkout_started.json"),
    ),
    ("schemas/order_cancelled.json", include_str!("../../transforms/schemas/order_cancelled.json")),
    ("schemas/order_completed.json", include_str!("../../transforms/schemas/order_completed.json")),
    ("schemas/order_refunded.json", include_str!("../../transforms/schemas/order_refunded.json")),
    ("schemas/product_viewed.json", include_str!("../../transforms/schemas/product_viewed.json")),
    (
        "schemas/subscription_cancelled.json",
        include_str!("../../transforms/schemas/subscription_cancelled.json"),
    ),
    (
        "schemas/subscription_created.json",
        include_str!("../../transforms/schemas/subscription_created.json"),
    ),
    (
        "schemas/subscription_paused.json",
        include_str!("../../transforms/schemas/subscription_paused.json"),
    ),
    (
        "schemas/subscription_renewed.json",
        include_str!("../../transforms/schemas/subscription_renewed.json"),
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn on_disk(dir: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                on_disk(&entry.path(), &format!("{name}/"), found);
            } else {
                found.insert(name);
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_shipped() {
        let mut found = BTreeSet::new();
        on_disk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("transforms"), "", &mut found);
        let shipped: BTreeSet<String> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(found, shipped);
    }
}

//! WebAssembly functions for wpc.

use serde::{Deserialize, Serialize};

/// One line of an order. `wpc::Schema` records its fields in the module, so that callers can pass it as JSON.
#[derive(Debug, Serialize, Deserialize, wpc::Schema)]
pub struct Item {
    name: String,
    count: u32,
    /// In cents.
    price: u64,
    note: Option<String>,
}

/// The totals of an order.
#[derive(Debug, PartialEq, Serialize, Deserialize, wpc::Schema)]
pub struct Receipt {
    items: u32,
    /// In cents.
    total: u64,
    notes: Vec<String>,
}

/// Computes the receipt of an order.
#[wpc::function]
fn order(items: Vec<Item>) -> Result<Receipt, wpc::GuestError> {
    if items.is_empty() {
        return Err(wpc::GuestError::new("EmptyOrder", "an order needs at least one item"));
    }
    let total = items.iter().map(|item| u64::from(item.count) * item.price).sum();
    wpc::info!("{} items, {total} cents", items.len());
    let count = items.iter().map(|item| item.count).sum();
    Ok(Receipt { items: count, total, notes: items.into_iter().filter_map(|item| item.note).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computes_a_receipt() {
        let _host = wpc::testing::Host::new().install();
        let tea = Item { name: "tea".to_owned(), count: 2, price: 300, note: None };
        assert_eq!(order(vec![tea]).unwrap(), Receipt { items: 2, total: 600, notes: vec![] });
    }

    #[test]
    fn rejects_an_empty_order() {
        assert_eq!(order(vec![]).unwrap_err().name, "EmptyOrder");
    }
}

//! What an event is to a campaign: a reason to start one, a reason to stop one, or neither.

use crate::spec::Call;

/// The kinds of events that the guard's defaults tell apart.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// Shows interest, and starts reminders: views, searches, carts, checkouts.
    Intent,
    /// Ends what interest started: orders, refunds, cancellations, subscription changes.
    Exit,
    /// Any other behaviour.
    Other,
    /// Describes a person, a device or an object.
    Profile,
    /// Cannot be taken back: delete, suppress, unsuppress, merge, of people and of objects.
    Destructive,
}

const INTENT: [&str; 19] = [
    "product_viewed",
    "product_clicked",
    "collection_viewed",
    "product_list_filtered",
    "promotion_viewed",
    "promotion_clicked",
    "products_searched",
    "added_to_cart",
    "removed_from_cart",
    "cart_viewed",
    "cart_updated",
    "cart_shared",
    "added_to_wishlist",
    "checkout_started",
    "checkout_step_viewed",
    "checkout_step_completed",
    "payment_info_entered",
    "coupon_entered",
    "coupon_applied",
];

const EXIT: [&str; 11] = [
    "order_completed",
    "order_updated",
    "order_cancelled",
    "order_refunded",
    "order_fulfilled",
    "subscription_created",
    "subscription_renewed",
    "subscription_paused",
    "subscription_resumed",
    "subscription_cancelled",
    "subscription_expired",
];

const DESTRUCTIVE: [&str; 5] = [
    "user_deleted",
    "user_suppressed",
    "user_unsuppressed",
    "object_deleted",
    "relationship_deleted",
];

const PROFILE: [&str; 5] = [
    "device_created_or_updated",
    "device_deleted",
    "application_installed",
    "application_opened",
    "application_uninstalled",
];

impl Kind {
    /// The kind of a call whose name has this canonical key. What it holds may say more
    /// ([`crate::destination::customerio::mapping::Mapping::takes_away`]).
    pub fn of(call: Call, canonical: &str) -> Self {
        match call {
            Call::Identify | Call::Group => Self::Profile,
            Call::Alias | Call::Delete => Self::Destructive,
            Call::Page | Call::Screen => Self::Intent,
            Call::Track if INTENT.contains(&canonical) => Self::Intent,
            Call::Track if Self::is_exit(canonical) => Self::Exit,
            Call::Track if DESTRUCTIVE.contains(&canonical) => Self::Destructive,
            Call::Track if PROFILE.contains(&canonical) => Self::Profile,
            Call::Track => Self::Other,
        }
    }

    /// Whether the event with this canonical key ends what other events started.
    pub fn is_exit(canonical: &str) -> bool {
        EXIT.contains(&canonical)
    }

    /// The name in metrics and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Exit => "exit",
            Self::Other => "other",
            Self::Profile => "profile",
            Self::Destructive => "destructive",
        }
    }
}

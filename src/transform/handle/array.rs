//! An array of the event. Its elements become nodes when the array is first handed out.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use rhai::Dynamic;
use serde_json::Value;

use super::{MapHandle, Node, Opened, Refusal, convert};
use crate::transform::limits::Budget;

/// A handle on an array of the event. Copies of the handle are the same array.
#[derive(Clone, Debug)]
pub(crate) struct ArrayHandle(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    items: RefCell<Vec<Node>>,
    depth: Cell<usize>,
    frozen: bool,
}

impl ArrayHandle {
    /// A handle on `items`, at `depth` levels below the event.
    pub(crate) fn new(items: Vec<Value>, depth: usize, frozen: bool) -> Self {
        let items = RefCell::new(items.into_iter().map(Node::Plain).collect());
        Self(Rc::new(Shared { items, depth: Cell::new(depth), frozen }))
    }

    /// The handle in a script's value.
    pub(crate) fn of(value: &Dynamic) -> Option<Self> {
        value.read_lock::<Self>().map(|handle| handle.clone())
    }

    /// Whether both are handles on the same array.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// How many elements there are.
    pub(crate) fn len(&self) -> usize {
        self.0.items.borrow().len()
    }

    /// Reads an element; `None` beyond the end.
    pub(crate) fn get(&self, at: usize) -> Option<Dynamic> {
        let items = &mut *self.0.items.borrow_mut();
        let item = items.get_mut(at)?;
        if let Node::Plain(value @ (Value::Object(_) | Value::Array(_))) = item {
            *item = Node::open(value.take(), self.0.depth.get() + 1, self.0.frozen);
        }
        Some(item.read())
    }

    /// The container that an element is.
    pub(crate) fn open(&self, at: usize) -> Option<Opened> {
        let items = &mut *self.0.items.borrow_mut();
        let item = items.get_mut(at)?;
        if let Node::Plain(value @ (Value::Object(_) | Value::Array(_))) = item {
            *item = Node::open(value.take(), self.0.depth.get() + 1, self.0.frozen);
        }
        item.opened()
    }

    /// The map that an element is.
    pub(crate) fn map_at(&self, at: usize) -> Option<MapHandle> {
        match self.open(at) {
            Some(Opened::Map(map)) => Some(map),
            _ => None,
        }
    }

    /// Lets `read` look at an element that is a scalar.
    pub(crate) fn with_scalar<R>(&self, at: usize, read: impl FnOnce(&Value) -> R) -> Option<R> {
        match self.0.items.borrow().get(at) {
            Some(Node::Plain(value)) if !(value.is_object() || value.is_array()) => {
                Some(read(value))
            }
            _ => None,
        }
    }

    /// All elements as a script sees them, at this moment.
    pub(crate) fn snapshot(&self) -> Vec<Dynamic> {
        (0..self.len()).filter_map(|at| self.get(at)).collect()
    }

    /// Writes an element: a copy of `value`, unless it is what is there already. `false` beyond the
    /// end.
    pub(crate) fn set(&self, at: usize, value: &Dynamic, budget: &Budget) -> Result<bool, Refusal> {
        match self.0.items.borrow().get(at) {
            None => return Ok(false),
            Some(node) if node.is_same(value) => return Ok(true),
            Some(_) => {}
        }
        self.check_writable()?;
        let value = convert::to_value(value, self.0.depth.get() + 1, budget)?;
        if let Some(slot) = self.0.items.borrow_mut().get_mut(at) {
            *slot = Node::Plain(value);
        }
        Ok(true)
    }

    /// Appends a copy of `value`.
    pub(crate) fn push(&self, value: &Dynamic, budget: &Budget) -> Result<(), Refusal> {
        self.check_writable()?;
        let value = convert::to_value(value, self.0.depth.get() + 1, budget)?;
        self.0.items.borrow_mut().push(Node::Plain(value));
        Ok(())
    }

    /// Makes the array hold `values`. Elements that are there already stay the nodes they are, in
    /// their new places; everything else is copied.
    pub(crate) fn replace(&self, values: &[Dynamic], budget: &Budget) -> Result<(), Refusal> {
        let unchanged = {
            let items = self.0.items.borrow();
            items.len() == values.len()
                && items.iter().zip(values).all(|(node, value)| node.is_same(value))
        };
        if unchanged {
            return Ok(());
        }
        self.check_writable()?;
        let sources = self.sources(values, budget)?;
        let mut items = self.0.items.borrow_mut();
        let mut old: Vec<Option<Node>> = items.drain(..).map(Some).collect();
        items.extend(sources.into_iter().map(|source| match source {
            Source::Old(at) => old[at].take().unwrap_or(Node::Plain(Value::Null)),
            Source::New(value) => Node::Plain(value),
        }));
        Ok(())
    }

    /// Where each of `values` comes from: each old node serves once.
    fn sources(&self, values: &[Dynamic], budget: &Budget) -> Result<Vec<Source>, Refusal> {
        let items = self.0.items.borrow();
        let mut places = Places::of(&items);
        let depth = self.0.depth.get() + 1;
        let find = |(at, value): (usize, &Dynamic)| {
            budget.spend(1, 0)?;
            Ok(match places.claim(&items, at, value) {
                Some(from) => Source::Old(from),
                None => Source::New(convert::to_value(value, depth, budget)?),
            })
        };
        values.iter().enumerate().map(find).collect()
    }

    /// What tells this array from all others that are alive.
    fn address(&self) -> usize {
        Rc::as_ptr(&self.0).cast::<u8>() as usize
    }

    /// The elements, taken out of the handle.
    pub(crate) fn take(&self) -> Vec<Value> {
        let items = std::mem::take(&mut *self.0.items.borrow_mut());
        items.into_iter().map(Node::into_value).collect()
    }

    /// A copy of the elements.
    pub(crate) fn copy(&self) -> Vec<Value> {
        self.0.items.borrow().iter().map(Node::copy).collect()
    }

    /// Calls `visit` for every element.
    pub(super) fn for_each_node<E>(
        &self,
        mut visit: impl FnMut(&Node) -> Result<(), E>,
    ) -> Result<(), E> {
        self.0.items.borrow().iter().try_for_each(&mut visit)
    }

    pub(super) fn height(&self) -> usize {
        1 + self.0.items.borrow().iter().map(Node::height).max().unwrap_or(0)
    }

    pub(super) fn settle_at(&self, depth: usize) {
        self.0.depth.set(depth);
        self.0.items.borrow().iter().for_each(|node| node.settle_at(depth + 1));
    }

    pub(crate) fn check_writable(&self) -> Result<(), Refusal> {
        if self.0.frozen { Err(Refusal::ReadOnly) } else { Ok(()) }
    }
}

/// Where an element of a rewritten array comes from.
enum Source {
    /// The node that was at this place.
    Old(usize),
    /// A copy of what the script wrote.
    New(Value),
}

/// Where the elements of an array were before it was rewritten.
struct Places {
    /// Open nodes by address.
    open: HashMap<usize, usize>,
    /// Numbers that scripts see as something else than what they are.
    odd_numbers: Vec<usize>,
    claimed: Vec<bool>,
}

impl Places {
    fn of(items: &[Node]) -> Self {
        let mut places = Self {
            open: HashMap::new(),
            odd_numbers: Vec::new(),
            claimed: vec![false; items.len()],
        };
        for (at, node) in items.iter().enumerate() {
            match node {
                Node::Map(map) => {
                    places.open.insert(map.address(), at);
                }
                Node::Array(array) => {
                    places.open.insert(array.address(), at);
                }
                Node::Plain(Value::Number(number)) if convert::is_odd(number) => {
                    places.odd_numbers.push(at);
                }
                Node::Plain(_) => {}
            }
        }
        places
    }

    /// The place from which `value` came, if nobody else came from there.
    fn claim(&mut self, items: &[Node], at: usize, value: &Dynamic) -> Option<usize> {
        let is_here = |at: usize| items.get(at).is_some_and(|node| node.is_same(value));
        let address = MapHandle::of(value)
            .map(|map| map.address())
            .or_else(|| ArrayHandle::of(value).map(|array| array.address()));
        let from = match address {
            _ if is_here(at) => Some(at),
            Some(address) => self.open.get(&address).copied(),
            None => self.odd_numbers.iter().copied().find(|&from| is_here(from)),
        }?;
        (!std::mem::replace(self.claimed.get_mut(from)?, true)).then_some(from)
    }
}

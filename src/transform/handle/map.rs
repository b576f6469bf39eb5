//! A map of the event: the fields as they were parsed, and beside them the children that a script
//! holds handles on.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use rhai::Dynamic;
use serde_json::Value;

use super::{ArrayHandle, MAX_DEPTH, Node, Opened, Refusal, convert};
use crate::spec::{Object, field, field_mut};
use crate::transform::bundle::Table;
use crate::transform::limits::Budget;

/// A handle on a map of the event. Copies of the handle are the same map.
#[derive(Clone, Debug)]
pub(crate) struct MapHandle(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    data: RefCell<Data>,
    depth: Cell<usize>,
    frozen: bool,
}

/// A key in `open` has a meaningless placeholder in `fields`, which keeps its place in the order.
#[derive(Debug, Default)]
struct Data {
    fields: Object,
    open: Vec<(String, Node)>,
}

impl Data {
    fn open_at(&self, key: &str) -> Option<usize> {
        self.open.iter().position(|(name, _)| name == key)
    }
}

impl MapHandle {
    /// A handle on `fields`, at `depth` levels below the event.
    pub(crate) fn new(fields: Object, depth: usize, frozen: bool) -> Self {
        let data = RefCell::new(Data { fields, open: Vec::new() });
        Self(Rc::new(Shared { data, depth: Cell::new(depth), frozen }))
    }

    /// The handle in a script's value.
    pub(crate) fn of(value: &Dynamic) -> Option<Self> {
        value.read_lock::<Self>().map(|handle| handle.clone())
    }

    /// Whether both are handles on the same map.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// What tells this map from all others that are alive.
    pub(crate) fn address(&self) -> usize {
        Rc::as_ptr(&self.0).cast::<u8>() as usize
    }

    /// Whether this belongs to `ctx`.
    pub(crate) fn is_frozen(&self) -> bool {
        self.0.frozen
    }

    /// Reads a field; an absent one is `()`.
    pub(crate) fn get(&self, key: &str) -> Dynamic {
        let data = &mut *self.0.data.borrow_mut();
        if !data.open.is_empty()
            && let Some(at) = data.open_at(key)
        {
            return data.open[at].1.read();
        }
        match field_mut(&mut data.fields, key) {
            None => Dynamic::UNIT,
            Some(value @ (Value::Object(_) | Value::Array(_))) => {
                let node = Node::open(value.take(), self.0.depth.get() + 1, self.0.frozen);
                let read = node.read();
                data.open.push((key.to_owned(), node));
                read
            }
            Some(value) => convert::scalar(value),
        }
    }

    /// The container that a field holds.
    pub(crate) fn open(&self, key: &str) -> Option<Opened> {
        let data = &mut *self.0.data.borrow_mut();
        if let Some(at) = data.open_at(key) {
            return data.open[at].1.opened();
        }
        match field_mut(&mut data.fields, key) {
            Some(value @ (Value::Object(_) | Value::Array(_))) => {
                let node = Node::open(value.take(), self.0.depth.get() + 1, self.0.frozen);
                let opened = node.opened();
                data.open.push((key.to_owned(), node));
                opened
            }
            _ => None,
        }
    }

    /// The map that a field holds.
    pub(crate) fn map_at(&self, key: &str) -> Option<Self> {
        match self.open(key) {
            Some(Opened::Map(map)) => Some(map),
            _ => None,
        }
    }

    /// Lets `read` look at a field that holds a scalar, without making a script's value of it.
    pub(crate) fn with_scalar<R>(&self, key: &str, read: impl FnOnce(&Value) -> R) -> Option<R> {
        let data = self.0.data.borrow();
        match field(&data.fields, key) {
            None | Some(Value::Object(_) | Value::Array(_)) => None,
            Some(_) if data.open_at(key).is_some() => None,
            Some(value) => Some(read(value)),
        }
    }

    /// Whether the field is there, be it `null`.
    pub(crate) fn has(&self, key: &str) -> bool {
        field(&self.0.data.borrow().fields, key).is_some()
    }

    /// Whether the field is absent or `null`.
    pub(crate) fn is_nothing(&self, key: &str) -> bool {
        let data = self.0.data.borrow();
        match field(&data.fields, key) {
            None => true,
            Some(Value::Null) => data.open_at(key).is_none(),
            Some(_) => false,
        }
    }

    /// Whether the field is a map, or nothing is there.
    pub(crate) fn is_map_or_nothing(&self, key: &str) -> bool {
        let data = self.0.data.borrow();
        match data.open_at(key) {
            Some(at) => matches!(data.open[at].1, Node::Map(_)),
            None => matches!(field(&data.fields, key), None | Some(Value::Null | Value::Object(_))),
        }
    }

    /// How many fields there are.
    pub(crate) fn len(&self) -> usize {
        self.0.data.borrow().fields.len()
    }

    /// The names of the fields, in their order.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.0.data.borrow().fields.keys().cloned().collect()
    }

    /// The keys for which a table has a text, with it. Scalars must be `wanted` with that text.
    pub(crate) fn matching<'t>(
        &self,
        table: &'t Table,
        wanted: impl Fn(&Value, &str) -> bool,
    ) -> Vec<(&'t str, &'t str)> {
        let data = self.0.data.borrow();
        let found = data.fields.iter().filter_map(|(key, value)| {
            let (key, text) = table.get_key_value(key)?;
            let text = text.as_str()?;
            (wanted(value, text) || data.open_at(key).is_some()).then_some((key.as_str(), text))
        });
        found.collect()
    }

    /// Writes a field: a copy of `value`, unless it is what the field holds already.
    pub(crate) fn set(&self, key: &str, value: &Dynamic, budget: &Budget) -> Result<(), Refusal> {
        if self.holds(key, value) {
            return Ok(());
        }
        self.check_writable()?;
        budget.spend(1, key.len())?;
        let value = convert::to_value(value, self.0.depth.get() + 1, budget)?;
        self.put(key, value);
        Ok(())
    }

    /// Writes a JSON value that the caller has paid for.
    pub(crate) fn put(&self, key: &str, value: Value) {
        let data = &mut *self.0.data.borrow_mut();
        if let Some(at) = data.open_at(key) {
            data.open.swap_remove(at);
        }
        match field_mut(&mut data.fields, key) {
            Some(slot) => *slot = value,
            None => {
                data.fields.insert(key.to_owned(), value);
            }
        }
    }

    /// Whether writing `value` would change nothing: it is what reading the field gives.
    fn holds(&self, key: &str, value: &Dynamic) -> bool {
        let data = self.0.data.borrow();
        match data.open_at(key) {
            Some(at) => data.open[at].1.is_same(value),
            None => match field(&data.fields, key) {
                Some(own) => convert::same_scalar(own, value),
                // Rhai writes back what it read, also where nothing was.
                None => value.is_unit(),
            },
        }
    }

    /// Takes a field out, with the handles that scripts hold on it.
    pub(crate) fn remove(&self, key: &str) -> Result<Option<Node>, Refusal> {
        self.check_writable()?;
        let data = &mut *self.0.data.borrow_mut();
        let plain = data.fields.shift_remove(key);
        if let Some(at) = data.open_at(key) {
            return Ok(Some(data.open.swap_remove(at).1));
        }
        Ok(plain.map(Node::Plain))
    }

    /// Puts a node that was taken out elsewhere here, under the eyes of those who hold it.
    pub(crate) fn place(&self, key: &str, node: Node) -> Result<(), Refusal> {
        self.check_writable()?;
        let depth = self.0.depth.get() + 1;
        if depth + node.height() > MAX_DEPTH {
            return Err(Refusal::TooDeep);
        }
        node.settle_at(depth);
        match node {
            Node::Plain(value) => self.put(key, value),
            open => {
                self.put(key, Value::Null);
                self.0.data.borrow_mut().open.push((key.to_owned(), open));
            }
        }
        Ok(())
    }

    /// Empties the map.
    pub(crate) fn clear(&self) -> Result<(), Refusal> {
        self.check_writable()?;
        *self.0.data.borrow_mut() = Data::default();
        Ok(())
    }

    /// The fields, taken out of the handle.
    pub(crate) fn take(&self) -> Object {
        let Data { mut fields, open } = std::mem::take(&mut *self.0.data.borrow_mut());
        for (key, node) in open {
            if let Some(slot) = field_mut(&mut fields, &key) {
                *slot = node.into_value();
            }
        }
        fields
    }

    /// A copy of the fields.
    pub(crate) fn copy(&self) -> Object {
        let data = self.0.data.borrow();
        let mut fields = data.fields.clone();
        for (key, node) in &data.open {
            if let Some(slot) = field_mut(&mut fields, key) {
                *slot = node.copy();
            }
        }
        fields
    }

    /// Calls `visit` for every field with its JSON or its open child.
    pub(super) fn for_each_node<E>(
        &self,
        mut visit: impl FnMut(&str, &Node) -> Result<(), E>,
        mut visit_plain: impl FnMut(&str, &Value) -> Result<(), E>,
    ) -> Result<(), E> {
        let data = self.0.data.borrow();
        for (key, value) in &data.fields {
            match data.open_at(key) {
                Some(at) => visit(key, &data.open[at].1)?,
                None => visit_plain(key, value)?,
            }
        }
        Ok(())
    }

    pub(super) fn height(&self) -> usize {
        let data = self.0.data.borrow();
        let open = data.open.iter().map(|(_, node)| node.height()).max().unwrap_or(0);
        let plain = data.fields.values().map(convert::height).max().unwrap_or(0);
        1 + open.max(plain)
    }

    pub(super) fn settle_at(&self, depth: usize) {
        self.0.depth.set(depth);
        for (_, node) in &self.0.data.borrow().open {
            node.settle_at(depth + 1);
        }
    }

    pub(crate) fn check_writable(&self) -> Result<(), Refusal> {
        if self.0.frozen { Err(Refusal::ReadOnly) } else { Ok(()) }
    }

    /// The child at `key`, made a map when nothing is there; `None` when something else is.
    pub(crate) fn map_or_new(&self, key: &str, budget: &Budget) -> Result<Option<Self>, Refusal> {
        if self.is_nothing(key) {
            self.check_writable()?;
            budget.spend(1, key.len())?;
            if self.0.depth.get() + 1 >= MAX_DEPTH {
                return Err(Refusal::TooDeep);
            }
            self.put(key, Value::Object(Object::new()));
        }
        Ok(self.map_at(key))
    }

    /// The child at `key` if it is an array.
    pub(crate) fn array_at(&self, key: &str) -> Option<ArrayHandle> {
        match self.open(key) {
            Some(Opened::Array(array)) => Some(array),
            _ => None,
        }
    }
}

//! A body is taken apart into its elements, each with exactly the bytes that were sent.
//!
//! Elements are not parsed here, only found: what is wrong inside one of them is its own affair and
//! makes it a dead letter later. Nesting costs no stack, and bytes that are no UTF-8 hurt only the
//! element that has them.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::IngestError;
use crate::spec::BatchDefaults;

/// More elements than the largest batches of any sender, and few enough for one transaction.
pub(super) const MAX_ELEMENTS: usize = 50_000;

/// What a batch may say for all of its elements, in bytes: twice what Segment allows a whole event.
const MAX_DEFAULTS: usize = 64 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A body in its parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Unpacked {
    /// The events, in order.
    pub(super) elements: Vec<Bytes>,
    /// The first element as it stood in the array, where what wrapped it was taken off.
    pub(super) wrapped_first: Option<Bytes>,
    /// Whether it is a batch, and not one event.
    pub(super) is_batch: bool,
    /// `writeKey` beside the events or in the single event.
    pub(super) write_key: Option<String>,
    /// What the batch says for all elements.
    pub(super) said: Said,
}

/// The fields of a batch beside its elements, as they were sent. A tree of them takes forty times the
/// room: it is made only when it is known who asks for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Said {
    sent_at: Option<Bytes>,
    context: Option<Bytes>,
    integrations: Option<Bytes>,
}

impl Said {
    /// How many bytes it is.
    pub(super) fn size(&self) -> usize {
        self.fields().iter().map(|(_, size)| size).sum()
    }

    /// What it says, if anything.
    ///
    /// # Errors
    /// It is more than may be said for all elements of a batch.
    pub(super) fn read(&self) -> Result<Option<BatchDefaults>, IngestError> {
        if self.size() > MAX_DEFAULTS {
            return Err(self.too_much());
        }
        let defaults = BatchDefaults {
            sent_at: read(self.sent_at.as_ref()),
            context: read(self.context.as_ref()),
            integrations: read(self.integrations.as_ref()),
        };
        Ok((!defaults.is_empty()).then_some(defaults))
    }

    fn too_much(&self) -> IngestError {
        let largest = self.fields().into_iter().max_by_key(|(_, size)| *size);
        let (name, size) = largest.unwrap_or_default();
        IngestError::BatchTooLarge(format!(
            "{name} beside its events has {size} bytes; context, integrations and sentAt together may have {MAX_DEFAULTS}: put into each event what that event needs"
        ))
    }

    /// Each field with its size.
    fn fields(&self) -> [(&'static str, usize); 3] {
        let size = |sent: &Option<Bytes>| sent.as_ref().map_or(0, Bytes::len);
        [
            ("context", size(&self.context)),
            ("integrations", size(&self.integrations)),
            ("sentAt", size(&self.sent_at)),
        ]
    }
}

/// Takes a body apart: one event, an array, or `{"batch": [..]}`. With `unwrap`, elements of the form
/// `{"json": {..}}` (batches of Segment's Extensible Webhook) lose their wrapper.
///
/// # Errors
/// The body is empty, no JSON, a scalar, or has too many elements.
pub(super) fn unpack(body: &Bytes, unwrap: bool) -> Result<Unpacked, IngestError> {
    let mark = if body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let body = body.slice(mark..);
    let text = readable(&body);
    let mut unpacked = match text.trim_ascii_start().as_bytes().first() {
        None => return Err(IngestError::EmptyBody),
        Some(b'[') => Unpacked {
            elements: elements(&text, &text, &body)?,
            is_batch: true,
            ..Unpacked::default()
        },
        Some(b'{') => unpack_object(&text, &body)?,
        Some(_) => return Err(scalar(&text)),
    };
    if unwrap {
        take_wrappers_off(&mut unpacked);
    }
    Ok(unpacked)
}

fn unpack_object(text: &str, body: &Bytes) -> Result<Unpacked, IngestError> {
    let parts: Parts<'_> = serde_json::from_str(text).map_err(invalid)?;
    let write_key = parts.write_key.and_then(|raw| serde_json::from_str(raw.get()).ok());
    let Some(batch) = parts.batch.filter(|raw| raw.get().starts_with('[')) else {
        let whole = body.slice(range_in(text, text.trim_ascii()));
        return Ok(Unpacked { elements: vec![whole], write_key, ..Unpacked::default() });
    };
    let sent = |raw: Option<&RawValue>| raw.map(|raw| body.slice(range_in(text, raw.get())));
    Ok(Unpacked {
        elements: elements(batch.get(), text, body)?,
        is_batch: true,
        write_key,
        said: Said {
            sent_at: sent(parts.sent_at),
            context: sent(parts.context),
            integrations: sent(parts.integrations),
        },
        wrapped_first: None,
    })
}

/// What cannot be read says nothing.
fn read<T: DeserializeOwned>(sent: Option<&Bytes>) -> Option<T> {
    let text = readable(sent.filter(|sent| *sent != "null")?);
    serde_json::from_str(&text).ok()
}

/// The elements of `array`, a part of `text`, as parts of `body`, which is as long as `text`.
fn elements(array: &str, text: &str, body: &Bytes) -> Result<Vec<Bytes>, IngestError> {
    let Elements(found) = serde_json::from_str(array).map_err(invalid)?;
    if found.len() > MAX_ELEMENTS {
        return Err(IngestError::BatchTooLarge(format!("more than {MAX_ELEMENTS} events")));
    }
    Ok(found.into_iter().map(|raw| body.slice(range_in(text, raw.get()))).collect())
}

fn take_wrappers_off(unpacked: &mut Unpacked) {
    for (at, element) in unpacked.elements.iter_mut().enumerate() {
        let Some(inner) = wrapped(element) else { continue };
        let whole = std::mem::replace(element, inner);
        if at == 0 && unpacked.is_batch {
            unpacked.wrapped_first = Some(whole);
        }
    }
}

/// The inside of `{"json": {..}}`: exactly this key, and an object in it.
fn wrapped(element: &Bytes) -> Option<Bytes> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wrapper<'a> {
        #[serde(borrow)]
        json: &'a RawValue,
    }
    // Looked at before parsing: nearly no element is one.
    let start = element.strip_prefix(b"{")?.trim_ascii_start();
    if !start.starts_with(b"\"json\"") {
        return None;
    }
    let text = readable(element);
    let wrapper: Wrapper<'_> = serde_json::from_str(&text).ok()?;
    wrapper.json.get().starts_with('{').then(|| element.slice(range_in(&text, wrapper.json.get())))
}

/// The body as text of the same length: every byte that is no UTF-8 becomes a question mark, so that
/// positions stay and the neighbours of a broken element can be read.
fn readable(body: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(body) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let mut text = String::with_capacity(body.len());
            for chunk in body.utf8_chunks() {
                text.push_str(chunk.valid());
                text.extend(std::iter::repeat_n('?', chunk.invalid().len()));
            }
            Cow::Owned(text)
        }
    }
}

/// Where `part`, a slice of `whole`, lies in it.
fn range_in(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

/// serde's messages carry positions and never content.
fn invalid(error: serde_json::Error) -> IngestError {
    IngestError::InvalidJson(error.to_string())
}

fn scalar(text: &str) -> IngestError {
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        return invalid(error);
    }
    IngestError::NotEvents(match text.trim_ascii_start().as_bytes().first() {
        Some(b'"') => "a text",
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        _ => "a number",
    })
}

/// The fields of an object that matter here. Written by hand because a key may come twice: as in any
/// JSON object the last one counts.
#[derive(Default)]
struct Parts<'a> {
    batch: Option<&'a RawValue>,
    write_key: Option<&'a RawValue>,
    sent_at: Option<&'a RawValue>,
    context: Option<&'a RawValue>,
    integrations: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Field {
    Batch,
    WriteKey,
    SentAt,
    Context,
    Integrations,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Parts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Parts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut parts = Parts::default();
                while let Some(field) = map.next_key()? {
                    let place = match field {
                        Field::Batch => &mut parts.batch,
                        Field::WriteKey => &mut parts.write_key,
                        Field::SentAt => &mut parts.sent_at,
                        Field::Context => &mut parts.context,
                        Field::Integrations => &mut parts.integrations,
                        Field::Other => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *place = Some(map.next_value()?);
                }
                Ok(parts)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// The elements of an array, up to one more than is allowed; the rest is only checked.
struct Elements<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut found = Vec::new();
                while found.len() <= MAX_ELEMENTS {
                    match seq.next_element()? {
                        Some(raw) => found.push(raw),
                        None => return Ok(Elements(found)),
                    }
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Elements(found))
            }
        }
        deserializer.deserialize_seq(Items)
    }
}

//! MessagePack (`rmp`): an answer that is already JSON, in its binary form.

use crate::error::{guard, Error, MrBuffer, MrError, MrErrorCode, MrSlice};
use rmp::encode::{self, ValueWriteError};
use serde_json::Value;

// Writing to a vector cannot fail.
fn write(out: &mut Vec<u8>, value: &Value) -> Result<(), ValueWriteError> {
    match value {
        Value::Null => encode::write_nil(out).map_err(ValueWriteError::InvalidMarkerWrite)?,
        Value::Bool(truth) => {
            encode::write_bool(out, *truth).map_err(ValueWriteError::InvalidMarkerWrite)?
        }
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(integer), _) => drop(encode::write_uint(out, integer)?),
            (_, Some(integer)) => drop(encode::write_sint(out, integer)?),
            _ => encode::write_f32(out, number.as_f64().unwrap_or(f64::NAN) as f32)?,
        },
        Value::String(text) => encode::write_str(out, text)?,
        Value::Array(values) => {
            encode::write_array_len(out, values.len() as u32)?;
            for element in values {
                write(out, element)?;
            }
        }
        Value::Object(members) => {
            encode::write_map_len(out, members.len() as u32)?;
            for (key, member) in members {
                encode::write_str(out, key)?;
                write(out, member)?;
            }
        }
    }
    Ok(())
}

/// JSON to MessagePack. Numbers with a fraction or an exponent become 32-bit floats: they are
/// results of the model, which computes in 32 bits.
///
/// # Safety
/// `json` holds readable bytes; `error` is writable.
#[no_mangle]
pub unsafe extern "C" fn mr_json_to_message_pack(json: MrSlice, error: *mut MrError) -> MrBuffer {
    guard(error, MrBuffer::empty(), || {
        let value: Value = serde_json::from_slice(json.as_bytes()).map_err(|e| Error {
            code: MrErrorCode::Corrupt,
            message: e.to_string(),
        })?;
        let mut out = Vec::with_capacity(json.size / 2);
        write(&mut out, &value).map_err(|e| Error {
            code: MrErrorCode::Failed,
            message: e.to_string(),
        })?;
        Ok(out.into())
    })
}

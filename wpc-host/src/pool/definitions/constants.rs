//! Defining and listing constants.

use crate::codec::value_type::type_of;
use crate::error::{Definable, Error};
use crate::information::ConstantInformation;
use crate::pool::WorkerProcedureCall;
use crate::registry::Change;
use crate::registry::types::ConstantType;
use serde::Serialize;
use wpc_abi::compare::unknown;

impl WorkerProcedureCall {
    /// Defines a constant, or replaces its value. Every call accepted after this method returned sees the new value. A
    /// running call sees all constants and host functions as they were when its guest first used any of them, or when its
    /// definition was replaced if that was earlier.
    ///
    /// The value must have the type that modules declare for the constant (`wpc::constant!` declares one): an integer
    /// of the same width and sign (`usize` serializes as `u64`), a structure with the same fields. Types that the value
    /// does not show, such as the item type of an empty `Vec`, are not compared. Modules defined later are compared as
    /// well.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`]; [`Error::ConstantEncode`] if the value does not serialize; [`Error::TypeMismatch`] if a
    /// defined module declares another type. In that case, the previous value stays active.
    #[doc(alias = "defineWorkerConstant")]
    pub fn define_worker_constant<T: Serialize + ?Sized>(
        &self,
        name: &str,
        value: &T,
    ) -> Result<(), Error> {
        self.change(constant(name, value)).map(drop)
    }

    /// Removes a constant; returns false if it was not defined. Calls that read it fail until it is defined again.
    #[doc(alias = "undefineWorkerConstant")]
    pub fn undefine_worker_constant(&self, name: &str) -> bool {
        self.remove(Definable::Constant, name)
    }

    /// Lists every defined constant, sorted by name.
    #[doc(alias = "getWorkerConstants")]
    #[must_use]
    pub fn get_worker_constants(&self) -> Vec<ConstantInformation> {
        let installed_worker_count = self.count_workers(|_| true);
        let bindings = self.registry().bindings();
        let mut names: Vec<_> = bindings.constants.keys().map(ToString::to_string).collect();
        names.sort();
        names.into_iter().map(|name| ConstantInformation { name, installed_worker_count }).collect()
    }
}

/// The definition of a constant.
pub(super) fn constant<T: Serialize + ?Sized>(name: &str, value: &T) -> Change {
    let encoded = postcard::to_allocvec(value).map_err(|error| {
        format!(
            "{error}; its type must serialize, with the length of every sequence known in advance"
        )
    });
    // A value that encodes always has a type.
    let ty = ConstantType::Shown(type_of(value).unwrap_or_else(unknown));
    encoded_constant(name, ty, encoded)
}

/// The definition of a constant that was encoded, or the reason why it cannot be.
pub(in crate::pool) fn encoded_constant(
    name: &str,
    ty: ConstantType,
    encoded: Result<Vec<u8>, String>,
) -> Change {
    let name = name.to_owned();
    match encoded {
        Ok(value) => Change::Constant { name, ty, value },
        Err(reason) => {
            let error = Error::ConstantEncode { constant: name.clone(), reason };
            Change::Refused { kind: Definable::Constant, name, error }
        }
    }
}

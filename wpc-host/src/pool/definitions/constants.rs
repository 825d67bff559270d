//! Defining and listing constants.

use crate::codec::value_type::type_of;
use crate::error::Error;
use crate::information::ConstantInformation;
use crate::pool::WorkerProcedureCall;
use crate::registry::types::ConstantType;
use serde::Serialize;
use wpc_abi::compare::unknown;

impl WorkerProcedureCall {
    /// Defines a constant, or replaces its value. Every call accepted after this method returned sees the new value; a
    /// running call keeps the values that it read first.
    ///
    /// The value must have the type that modules declare for the constant (`wpc::constant!` declares one): an integer
    /// of the same width and sign (`usize` serializes as `u64`), a structure with the same fields. Types that the value
    /// does not show, such as the item type of an empty `Vec`, are not compared. Modules defined later are compared as
    /// well.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`]; [`Error::ConstantEncode`] if the value does not serialize; [`Error::TypeMismatch`] if a
    /// defined module declares another type. The previous value stays active then.
    #[doc(alias = "defineWorkerConstant")]
    pub fn define_worker_constant<T: Serialize + ?Sized>(
        &self,
        name: &str,
        value: &T,
    ) -> Result<(), Error> {
        let encoded = postcard::to_allocvec(value).map_err(|error| Error::ConstantEncode {
            constant: name.to_owned(),
            reason: format!(
                "{error}; its type must serialize, with the length of every sequence known in advance"
            ),
        });
        // A value that encodes always has a type.
        let ty = ConstantType::Shown(type_of(value).unwrap_or_else(unknown));
        let result = encoded.and_then(|value| self.registry().define_constant(name, ty, value));
        self.after_definition("constant", name, result)
    }

    /// Removes a constant; returns false if it was not defined. Calls that read it fail until it is defined again.
    #[doc(alias = "undefineWorkerConstant")]
    pub fn undefine_worker_constant(&self, name: &str) -> bool {
        self.registry().undefine_constant(name)
    }

    /// Lists every defined constant, sorted by name.
    #[doc(alias = "getWorkerConstants")]
    #[must_use]
    pub fn get_worker_constants(&self) -> Vec<ConstantInformation> {
        let installed_worker_count = self.count_workers(|_| true);
        let constants = self.registry().constants().load();
        let mut names: Vec<_> = constants.keys().map(ToString::to_string).collect();
        names.sort();
        names.into_iter().map(|name| ConstantInformation { name, installed_worker_count }).collect()
    }
}

//! The cases of serde's `rename_all`, applied as serde applies them.

/// A naming convention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Lower,
    Upper,
    Pascal,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

/// Every case by its name in serde.
const CASES: [(&str, Case); 8] = [
    ("lowercase", Case::Lower),
    ("UPPERCASE", Case::Upper),
    ("PascalCase", Case::Pascal),
    ("camelCase", Case::Camel),
    ("snake_case", Case::Snake),
    ("SCREAMING_SNAKE_CASE", Case::ScreamingSnake),
    ("kebab-case", Case::Kebab),
    ("SCREAMING-KEBAB-CASE", Case::ScreamingKebab),
];

impl Case {
    pub(crate) fn of(name: &str) -> Option<Self> {
        CASES.iter().find(|(case, _)| *case == name).map(|(_, case)| *case)
    }

    /// The names of all cases, for messages.
    pub(crate) fn names() -> String {
        CASES.map(|(name, _)| name).join(", ")
    }

    /// Converts a variant's name from Pascal case.
    pub(crate) fn of_variant(self, variant: &str) -> String {
        match self {
            Self::Pascal => variant.to_owned(),
            Self::Lower => variant.to_ascii_lowercase(),
            Self::Upper => variant.to_ascii_uppercase(),
            Self::Camel => with_lowercase_initial(variant),
            Self::Snake => {
                let mut snake = String::new();
                for (at, character) in variant.char_indices() {
                    if at > 0 && character.is_uppercase() {
                        snake.push('_');
                    }
                    snake.push(character.to_ascii_lowercase());
                }
                snake
            }
            Self::ScreamingSnake => Self::Snake.of_variant(variant).to_ascii_uppercase(),
            Self::Kebab => Self::Snake.of_variant(variant).replace('_', "-"),
            Self::ScreamingKebab => Self::ScreamingSnake.of_variant(variant).replace('_', "-"),
        }
    }

    /// Converts a field's name from snake case.
    pub(crate) fn of_field(self, field: &str) -> String {
        match self {
            Self::Lower | Self::Snake => field.to_owned(),
            Self::Upper | Self::ScreamingSnake => field.to_ascii_uppercase(),
            Self::Pascal => {
                let mut pascal = String::new();
                let mut is_initial = true;
                for character in field.chars() {
                    if character == '_' {
                        is_initial = true;
                    } else if is_initial {
                        pascal.push(character.to_ascii_uppercase());
                        is_initial = false;
                    } else {
                        pascal.push(character);
                    }
                }
                pascal
            }
            Self::Camel => with_lowercase_initial(&Self::Pascal.of_field(field)),
            Self::Kebab => field.replace('_', "-"),
            Self::ScreamingKebab => Self::ScreamingSnake.of_field(field).replace('_', "-"),
        }
    }
}

fn with_lowercase_initial(name: &str) -> String {
    let mut characters = name.chars();
    let initial = characters.next().map(|initial| initial.to_ascii_lowercase());
    initial.into_iter().chain(characters).collect()
}

use k8s_openapi::api::core::v1::{self, EnvVarSource};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::schema::undescribed;

/// An environment variable, as in a pod's container, or with an expression. At most one of `value`, `valueFrom` and
/// `expr` is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// The name of the variable.
    pub name: String,

    /// The value of the variable. `$(NAME)` stands for another variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,

    /// The source of the value: a ConfigMap, a Secret, or a field of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "undescribed::<EnvVarSource>")]
    pub value_from: Option<EnvVarSource>,

    /// A CEL expression whose value is the value of the variable: a string, a number or a boolean. It may name the
    /// steps that the step waits for: `steps.build.outputs.image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub expr: Option<String>,
}

impl EnvVar {
    /// The variable of a container; none if its value is an expression.
    #[must_use]
    pub fn without_expression(self) -> Option<v1::EnvVar> {
        let variable = v1::EnvVar {
            name: self.name,
            value: self.value,
            value_from: self.value_from,
        };
        self.expr.is_none().then_some(variable)
    }

    /// Whether more than one of `value`, `valueFrom` and `expr` is set.
    #[must_use]
    pub fn has_several_values(&self) -> bool {
        let set = [
            self.value.is_some(),
            self.value_from.is_some(),
            self.expr.is_some(),
        ];
        set.into_iter().filter(|is_set| *is_set).count() > 1
    }
}

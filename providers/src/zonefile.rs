pub static DESCRIPTOR: crate::Descriptor =
    crate::Descriptor { code: "zonefile", name: "", credentials: "", least_rights: "", docs: "" };

#![cfg_attr(fuzzing, no_main)]
isatap_fuzz::target!(teredo_server_operations);

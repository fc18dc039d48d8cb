# frozen_string_literal: true

namespace :schema do
  desc "Record the schema that the migrations make in tests/golden/schema.sql"
  task :update do
    sh({ "UPDATE_GOLDEN" => "1" }, "cargo", "test", "-p", "stepwell", "--test", "schema", *Project::QUIET)
  end
end

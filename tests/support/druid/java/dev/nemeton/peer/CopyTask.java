package dev.nemeton.peer;

import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;

/**
 * CopyTask JDBC_URL TASK_ID COUNT: puts COUNT copies of a finished task into Druid's metadata store, each under an id
 * of its own. Ten thousand finished tasks this way take a second; run one after the other they would take a day.
 */
public final class CopyTask
{
  private CopyTask()
  {
  }

  public static void main(String[] args) throws SQLException
  {
    String id = args[1];
    int count = Integer.parseInt(args[2]);
    try (Connection connection = DriverManager.getConnection(args[0])) {
      connection.setAutoCommit(false);
      try (PreparedStatement select = connection.prepareStatement(
          "SELECT created_date, datasource, payload, status_payload, type, group_id FROM druid_tasks WHERE id = ?"
      );
           PreparedStatement insert = connection.prepareStatement(
               "INSERT INTO druid_tasks (id, created_date, datasource, payload, status_payload, type, group_id, active)"
               + " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
           )) {
        select.setString(1, id);
        ResultSet row = select.executeQuery();
        if (!row.next()) {
          throw new IllegalArgumentException("No task " + id);
        }
        String payload = new String(row.getBytes(3), StandardCharsets.UTF_8);
        String status = new String(row.getBytes(4), StandardCharsets.UTF_8);
        for (int i = 0; i < count; i++) {
          String copy = id + "_" + i;
          insert.setString(1, copy);
          insert.setString(2, row.getString(1));
          insert.setString(3, row.getString(2));
          insert.setBytes(4, payload.replace(id, copy).getBytes(StandardCharsets.UTF_8));
          insert.setBytes(5, status.replace(id, copy).getBytes(StandardCharsets.UTF_8));
          insert.setString(6, row.getString(5));
          insert.setString(7, copy);
          insert.setBoolean(8, false);
          insert.addBatch();
        }
        insert.executeBatch();
      }
      connection.commit();
    }
  }
}
